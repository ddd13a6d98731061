// What a transaction asks first: what time it is, which transaction it is, and of which PostgreSQL.

export const CLOCK = {
  name: "clock_and_transaction",
  text: "select perdure_now() as now, pg_current_xact_id()::text as xid, pg_postmaster_start_time()::text as postgres",
};

export interface ClockRow {
  readonly now: number;
  readonly xid: string;
  /**
   * When this PostgreSQL started: no two of them at the same microsecond. A transaction id says who wrote a row only where it was
   * given out: a standby that took over and a restored backup give out the same ones again, for other rows. Asked in each
   * transaction, because behind a pooler one connection may come to another PostgreSQL from one transaction to the next.
   */
  readonly postgres: string;
}
