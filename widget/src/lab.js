// @ts-check
/** The lab's page (origin/lab/templates/lab.html): four parts that know nothing of each other but what is on the wire. */

import { startCompare } from "./lab-compare.js";
import { startLive } from "./lab-live.js";
import { startPath } from "./lab-path.js";
import { startPlan } from "./lab-plan.js";

startPath();
startLive();
startCompare();
void startPlan();
