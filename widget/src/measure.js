// @ts-check
/**
 * For a publisher who wants to know how late readers see a goal: beside the loader, on any page.
 *
 *     <script type="module" src="https://scores.example/widget/measure.js" async></script>
 */

import { sample } from "./beacon.js";

sample(1);
