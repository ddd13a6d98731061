-- What a row may be, as functions: PostgreSQL reads the text of a check anew for each statement that writes to its table, which for the
-- long lists took longer than the row itself. A call is short to read, and what it calls is kept ready by the connection.
-- Every row of before satisfies them, too: none is looked at again.

set local lock_timeout = '10s';

create function perdure_is_event(type text, seq integer) returns boolean language plpgsql immutable parallel safe
  as $$ begin
    return seq >= 1 and type in (
      'intent.created', 'intent.submitted', 'intent.delivered', 'intent.acknowledged', 'intent.in_progress',
      'intent.waiting', 'intent.resumed', 'intent.step_running', 'intent.step_done', 'intent.step_failed',
      'intent.step_interrupted', 'intent.step_waiting', 'intent.step_decided', 'intent.progress',
      'intent.state_changed', 'intent.checkpoint_named', 'intent.paused', 'intent.unpaused', 'intent.lost',
      'intent.released', 'intent.redelivery_scheduled', 'intent.retry_scheduled', 'intent.stale_write_refused',
      'intent.signaled', 'intent.human_task_assigned', 'intent.reminder', 'intent.escalated', 'intent.retried',
      'intent.restored', 'intent.delivery_failed', 'intent.completed', 'intent.failed', 'intent.canceled',
      'intent.timed_out', 'intent.policy_changed');
  end $$;

-- As with a check, what is not known of a null is no reason to refuse it.
create function perdure_is_intent(status text, waiting_reason text, consumer_id uuid, strikes integer,
    max_delivery_attempts integer, plan_by text, on_interrupt text, keep_versions integer)
  returns boolean language plpgsql immutable parallel safe
  as $$ begin
    return status in ('CREATED', 'SUBMITTED', 'DELIVERED', 'ACKNOWLEDGED', 'IN_PROGRESS', 'WAITING', 'COMPLETED', 'FAILED',
        'CANCELED', 'TIMED_OUT')
      and waiting_reason in ('WAITING_FOR_HUMAN', 'WAITING_FOR_TOOL', 'WAITING_FOR_AGENT', 'WAITING_FOR_TIME')
        is distinct from false
      and (status = 'WAITING') = (waiting_reason is not null)
      and (consumer_id is null or status in ('DELIVERED', 'ACKNOWLEDGED', 'IN_PROGRESS'))
      and max_delivery_attempts >= 1
      and strikes <= max_delivery_attempts
      and plan_by in ('sender', 'agent') is distinct from false
      and on_interrupt in ('retry', 'fail', 'ask') is distinct from false
      and (keep_versions >= 1) is distinct from false;
  end $$;

create function perdure_is_step(status text, on_interrupt text) returns boolean language plpgsql immutable parallel safe
  as $$ begin
    return status in ('planned', 'running', 'done', 'failed', 'interrupted', 'waiting', 'superseded')
      and on_interrupt in ('retry', 'fail', 'ask') is distinct from false;
  end $$;

create function perdure_is_end(status text) returns boolean language plpgsql immutable parallel safe
  as $$ begin return status in ('COMPLETED', 'FAILED', 'CANCELED', 'TIMED_OUT'); end $$;

alter table events drop constraint events_type_check, drop constraint events_seq_check,
  add constraint events_check check (perdure_is_event(type, seq)) not valid;

alter table intents drop constraint intents_check, drop constraint intents_check1, drop constraint intents_check2,
  drop constraint intents_keep_versions_check, drop constraint intents_max_delivery_attempts_check,
  drop constraint intents_on_interrupt_check, drop constraint intents_plan_by_check, drop constraint intents_status_check,
  drop constraint intents_waiting_reason_check,
  add constraint intents_check check (perdure_is_intent(status, waiting_reason, consumer_id, strikes,
    max_delivery_attempts, plan_by, on_interrupt, keep_versions)) not valid;

alter table steps drop constraint steps_status_check, drop constraint steps_on_interrupt_check,
  add constraint steps_check check (perdure_is_step(status, on_interrupt)) not valid;

alter table outcomes drop constraint outcomes_status_check,
  add constraint outcomes_check check (perdure_is_end(status)) not valid;
