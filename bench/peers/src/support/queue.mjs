// What is the same for every queue: jobs enqueued one by one or in batches, done when the worker says so, and counted in the
// database, because the worker may say so shortly before its acknowledgement is committed.

import { payloadOf } from "./job.mjs";

const batchOf = (number, size) => Array.from({ length: size }, (_, index) => payloadOf(number * size + index));

/**
 * @param {object} given
 * @param {{add: (payload: object) => Promise<unknown>, addMany: (payloads: object[]) => Promise<unknown>}} given.queue
 * @param {{batch?: number, lanes?: number}} given.setting with a `batch`, so many jobs are enqueued at once
 * @param {(added: number) => Promise<number>} given.countDone how many jobs are done, of so many added
 */
export function measuredQueue({ queue, worker, setting, countDone, close }) {
  let added = 0;
  const addOne = async (payload) => {
    await queue.add(payload);
    added += 1;
  };
  return {
    async noStep(number, payload) {
      if (setting.batch === undefined) {
        const done = worker.reportOf(number);
        await addOne(payload);
        await done;
        return 1;
      }
      const payloads = batchOf(number, setting.batch);
      const done = payloads.map((each) => worker.reportOf(each.number));
      await queue.addMany(payloads);
      added += payloads.length;
      await Promise.all(done);
      return payloads.length;
    },
    async startedAt(number, payload) {
      const began = worker.reportOf(number);
      await addOne(payload);
      return began;
    },
    countDone: () => countDone(added),
    lanes: setting.lanes,
    facts: () => (setting.batch === undefined ? {} : { batch: setting.batch, in_flight: setting.batch * setting.lanes }),
    cpu: { worker: worker.cpu },
    async stop() {
      await worker.stop();
      await close();
    },
  };
}

/** Nobody works: how fast batches are stored. */
export function enqueueOnly({ queue, setting, close }) {
  return {
    async noStep(number) {
      await queue.addMany(batchOf(number, setting.batch));
      return setting.batch;
    },
    lanes: setting.lanes,
    facts: () => ({ batch: setting.batch, in_flight: setting.batch * setting.lanes }),
    stop: close,
  };
}
