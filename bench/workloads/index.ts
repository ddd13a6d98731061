// The workloads in the order in which they are measured: what takes longest comes last, and has what is left of the short form's time.

import type { Workload } from "../support/workload.ts";
import { batchSubmit } from "./batch-submit.ts";
import { fourStep } from "./four-step.ts";
import { latency } from "./latency.ts";
import { noStep } from "./no-step.ts";

export const WORKLOADS: readonly Workload[] = [latency, batchSubmit, noStep, fourStep];
