// Owns: leaving out what is not there: absent here is absent on the wire, and the other way round. Must not: judge values.

/** Without the entries that are undefined. */
export function compact(fields: Record<string, any>): Record<string, any> {
  const there: Record<string, any> = {};
  for (const key of Object.keys(fields)) if (fields[key] !== undefined) there[key] = fields[key];
  return there;
}

/** `{[key]: value}`, or nothing at all for null and undefined. */
export function present<K extends string, V>(key: K, value: V | null | undefined): { [_ in K]?: V } {
  return (value === null || value === undefined ? {} : { [key]: value }) as { [_ in K]?: V };
}

/** The changed value, or undefined for undefined. */
export function optional<T, U>(value: T | undefined, change: (value: T) => U): U | undefined {
  return value === undefined ? undefined : change(value);
}
