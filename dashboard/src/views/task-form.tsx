// The form of a person's task, as far as its schema describes plain fields.

export interface FormField {
  readonly name: string;
  readonly label: string;
  readonly kind: "text" | "number" | "boolean" | "choice";
  /** JSON texts: a choice may be a number. */
  readonly choices: readonly string[];
  readonly required: boolean;
}

export type Answers = Readonly<Record<string, string>>;

interface Schema {
  readonly type?: string;
  readonly title?: string;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}

const isSchema = (one: unknown): one is Schema =>
  typeof one === "object" && one !== null && !Array.isArray(one);

export function fieldsOf(schema: unknown): FormField[] {
  if (!isSchema(schema) || !isSchema(schema.properties)) return [];
  const required = Array.isArray(schema.required) ? schema.required : [];
  return Object.entries(schema.properties).map(([name, field]) => {
    const choices = Array.isArray(field.enum) ? field.enum.map((one) => JSON.stringify(one)) : [];
    const numeric = field.type === "number" || field.type === "integer";
    const kind =
      choices.length > 0 ? "choice" : field.type === "boolean" ? "boolean" : numeric ? "number" : "text";
    return {
      name,
      label: typeof field.title === "string" ? field.title : name,
      kind,
      choices,
      required: required.includes(name),
    };
  });
}

/** As the schema has them: numbers are numbers. What was left empty is left out. */
export function answersOf(fields: readonly FormField[], answers: Answers): Record<string, unknown> {
  const given = fields.flatMap(({ name, kind }) => {
    const text = answers[name] ?? "";
    if (text === "") return [];
    return [[name, kind === "text" ? text : JSON.parse(text)] as const];
  });
  return Object.fromEntries(given);
}

export function FormFields(props: {
  fields: readonly FormField[];
  answers: Answers;
  onChange: (answers: Answers) => void;
  id: string;
}) {
  const { fields, answers, onChange, id } = props;
  return (
    <>
      {fields.map((field) => {
        const set = (text: string) => onChange({ ...answers, [field.name]: text });
        const current = answers[field.name] ?? "";
        const options = field.kind === "boolean" ? ["true", "false"] : field.choices;
        return (
          <label class="field wide" key={`${id} ${field.name}`}>
            <span class="label">
              <bdi>{field.label}</bdi>
              {field.required ? " (required)" : ""}
            </span>
            {options.length > 0 ? (
              <select value={current} onChange={(event) => set(event.currentTarget.value)}>
                <option value="">–</option>
                {options.map((option) => (
                  <option key={option} value={option}>
                    {field.kind === "boolean"
                      ? option === "true"
                        ? "Yes"
                        : "No"
                      : String(JSON.parse(option))}
                  </option>
                ))}
              </select>
            ) : field.kind === "number" ? (
              <input
                type="number"
                step="any"
                value={current}
                onInput={(event) => set(event.currentTarget.value)}
              />
            ) : (
              <input value={current} onInput={(event) => set(event.currentTarget.value)} />
            )}
          </label>
        );
      })}
    </>
  );
}
