// A decision's "no". The HTTP layer maps the code to a status; nothing here knows about HTTP.

export interface RefusalDetails {
  readonly [name: string]: unknown;
}

export class Refusal extends Error {
  readonly code: string;
  readonly details: RefusalDetails;
  constructor(code: string, message: string, details: RefusalDetails = {}) {
    super(message);
    this.name = "Refusal";
    this.code = code;
    this.details = details;
  }
}
