// The workloads in the order in which they are measured: what takes longest comes last, and has what is left of the short form's time.

import type { Workload } from "../support/workload.ts";
import { at5m } from "./at-5m.ts";
import { batchSubmit } from "./batch-submit.ts";
import { fanOut } from "./fan-out.ts";
import { fourStep } from "./four-step.ts";
import { idle } from "./idle.ts";
import { keys } from "./keys.ts";
import { latency } from "./latency.ts";
import { noStep } from "./no-step.ts";
import { pinnedXmin } from "./pinned-xmin.ts";
import { replicas } from "./replicas.ts";
import { stepOverhead } from "./step-overhead.ts";
import { waits } from "./waits.ts";

export const WORKLOADS: readonly Workload[] = [
  latency,
  idle,
  batchSubmit,
  stepOverhead,
  keys,
  fanOut,
  waits,
  replicas,
  at5m,
  pinnedXmin,
  noStep,
  fourStep,
];
