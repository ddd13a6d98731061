// Which fields a request schema knows: renames camelCase aliases and notices unknown fields, so that a typo is seen
// and an extra of another client passes. Knowledge is read from the zod schema once; values are not judged here.

import { z } from "zod";

interface Guide {
  readonly fields: ReadonlyMap<string, Guide | null>;
  /** Members with this prefix are known too (`metadata.` in a query). */
  readonly prefix: string | undefined;
}

const guides = new WeakMap<z.core.$ZodType, { guide: Guide | null }>();
const prefixes = z.registry<{ fieldPrefix: string }>();

/** Marks a schema as accepting any field that begins with `prefix`. */
export function withFieldPrefix<T extends z.ZodType>(schema: T, prefix: string): T {
  prefixes.add(schema, { fieldPrefix: prefix });
  return schema;
}

/** The guide of the object inside optional, nullable, default, array, pipe and union wrappers; null for anything else. */
function guideOf(schema: z.core.$ZodType): Guide | null {
  const known = guides.get(schema);
  if (known !== undefined) return known.guide;
  const guide = buildGuide(schema);
  guides.set(schema, { guide });
  return guide;
}

function buildGuide(schema: z.core.$ZodType): Guide | null {
  if (schema instanceof z.ZodObject) {
    const fields = new Map<string, Guide | null>();
    for (const [name, field] of Object.entries(schema.shape))
      fields.set(name, guideOf(field as z.core.$ZodType));
    return { fields, prefix: prefixes.get(schema)?.fieldPrefix };
  }
  if (schema instanceof z.ZodArray) return guideOf(schema.element as z.core.$ZodType);
  if (schema instanceof z.ZodPipe) {
    const inside = guideOf(schema.in as z.core.$ZodType);
    const prefix = prefixes.get(schema)?.fieldPrefix;
    return inside !== null && prefix !== undefined ? { ...inside, prefix } : inside;
  }
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault) {
    return guideOf(schema.unwrap() as z.core.$ZodType);
  }
  if (schema instanceof z.ZodUnion) {
    const found = schema.options
      .map((option) => guideOf(option as z.core.$ZodType))
      .filter((guide) => guide !== null);
    if (found.length === 0) return null;
    // A field of any alternative is known; zod says which alternative it belongs to.
    return { fields: new Map(found.flatMap((guide) => [...guide.fields])), prefix: undefined };
  }
  return null;
}

const MAX_WARNINGS = 20;
const camelToSnake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Renames aliases inside `value` (it is changed) and answers what was ignored. */
export function reconcileFields(schema: z.core.$ZodType, value: unknown): string[] {
  const guide = guideOf(schema);
  if (guide === null) return [];
  const warnings: string[] = [];
  let unlisted = 0;
  const warn = (text: () => string): void => {
    // Telling what was meant costs something for each: a flood of them gets a number.
    if (warnings.length < MAX_WARNINGS) warnings.push(text());
    else unlisted++;
  };
  walk(guide, value, "", warn);
  if (unlisted > 0) warnings.push(`and ${unlisted} more`);
  return warnings;
}

function walk(guide: Guide, value: unknown, path: string, warn: (text: () => string) => void): void {
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) walk(guide, value[i], `${path}[${i}]`, warn);
    return;
  }
  if (typeof value !== "object" || value === null) return;
  const members = value as { [name: string]: unknown };
  for (const name of Object.keys(members)) {
    let known = guide.fields.get(name);
    let final = name;
    if (known === undefined) {
      if (guide.prefix !== undefined && name.startsWith(guide.prefix)) continue;
      final = camelToSnake(name);
      known = guide.fields.get(final);
      const shown = () => JSON.stringify(path === "" ? name : `${path}.${name}`);
      if (known === undefined) {
        warn(() => {
          const near = nearest(name, guide.fields.keys());
          return `unknown field ${shown()} was ignored${near === undefined ? "" : `; did you mean ${JSON.stringify(near)}?`}`;
        });
        continue;
      }
      if (Object.hasOwn(members, final)) {
        warn(() => `field ${shown()} was ignored because ${JSON.stringify(final)} is also given`);
        continue;
      }
      members[final] = members[name];
      delete members[name];
    }
    if (known !== null) walk(known, members[final], path === "" ? final : `${path}.${final}`, warn);
  }
}

const NAME_COMPARED = 40;

/** The known name within two edits of `name`, or that has the same letters; undefined when none is close. */
function nearest(name: string, known: Iterable<string>): string | undefined {
  if (name.length > NAME_COMPARED) return undefined;
  const plain = camelToSnake(name);
  let best: string | undefined;
  let bestDistance = Math.min(3, Math.ceil(plain.length / 2));
  for (const candidate of known) {
    if (Math.abs(candidate.length - plain.length) >= bestDistance) continue;
    const distance = editDistance(plain, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, (previous[j] as number) + 1, (row[j - 1] as number) + 1));
    }
    previous = row;
  }
  return previous[b.length] as number;
}
