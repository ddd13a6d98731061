// What a caller sees, as a condition for lists: the same rule as domain/access.ts, for many rows at once.

import { type RawBuilder, type Sql, sql } from "kysely";
import { type Access, may, seesEverything } from "../domain/access.ts";

type Condition = RawBuilder<boolean>;
type Expression = RawBuilder<unknown> | ReturnType<Sql["ref"]>;

/** An array parameter: kysely would spread it. */
const texts = (values: readonly string[]) => sql`${[...values]}::text[]`;

export function covered(access: Access, address: ReturnType<Sql["ref"]>): Condition {
  const exact = [access.address, ...access.patterns.filter((pattern) => !pattern.endsWith("*"))];
  const prefixes = access.patterns.filter((one) => one.endsWith("*")).map((one) => one.slice(0, -1));
  return sql<boolean>`(${address} = any(${texts(exact)})
    or exists (select 1 from unnest(${texts(prefixes)}) as p(prefix) where starts_with(${address}, p.prefix)))`;
}

/** Whether the intent of this row is seen; `alias` is that of `intents`. */
export function seen(access: Access, alias: string): Condition {
  if (seesEverything(access)) return sql<boolean>`true`;
  const column = (name: string) => sql.ref(`${alias}.${name}`);
  const within = may(access, "operate") ? sql<boolean>`true` : covered(access, column("sent_by"));
  return sql<boolean>`(${covered(access, column("to_agent"))} or (${column("namespace")} = ${access.namespace} and ${within}))`;
}

/** Whether the key of this row reaches no further than what its reader may give away: engine/keys.ts, for many rows at once. */
export function grantable(access: Access, alias: string): Condition {
  if (seesEverything(access)) return sql<boolean>`true`;
  const own = { ...access, patterns: [...access.patterns, `${access.namespace}/*`] };
  const [patterns, namespace] = [sql.ref(`${alias}.patterns`), sql.ref(`${alias}.namespace`)];
  const reaches = sql`unnest(array_append(${patterns}, ${namespace} || '/*')) as r(pattern)`;
  return sql<boolean>`not exists (select 1 from ${reaches} where not ${covered(own, sql.ref("r.pattern"))})`;
}

const inSession = (namespace: Expression, name: Expression) =>
  sql`from intent_data d join intents i on i.id = d.id where d.session_namespace = ${namespace} and d.session = ${name}`;

/** A session is seen by operators of its namespace, and by whoever sees one of its intents. */
export function seenSession(access: Access, namespace: Expression, name: Expression): Condition {
  if (seesEverything(access)) return sql<boolean>`true`;
  const own = sql<boolean>`${namespace} = ${access.namespace}`;
  if (may(access, "operate")) return own;
  return sql<boolean>`(${own} and exists (select 1 ${inSession(namespace, name)} and ${seen(access, "i")}))`;
}

/** Its memory may also be prepared before there is any intent in it. */
export function openSession(access: Access, namespace: Expression, name: Expression): Condition {
  const empty = sql<boolean>`not exists (select 1 ${inSession(namespace, name)})`;
  return sql<boolean>`(${namespace} = ${access.namespace} and ${empty} or ${seenSession(access, namespace, name)})`;
}

/** Whether the agent of this row, which has an address and a namespace, is seen. */
export function reachable(access: Access, alias: string): Condition {
  if (seesEverything(access)) return sql<boolean>`true`;
  const address = covered(access, sql.ref(`${alias}.address`));
  return may(access, "operate") || may(access, "admin")
    ? sql<boolean>`(${address} or ${sql.ref(`${alias}.namespace`)} = ${access.namespace})`
    : address;
}
