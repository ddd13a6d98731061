// Prints the closing line of a CI run, `N passed, N failed`, from vitest's JSON report. Exits 1 when anything failed
// or nothing ran.

import { readFileSync } from "node:fs";

let passed = 0;
let failed = 0;
try {
  const report = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8"));
  passed = report.numPassedTests;
  failed = report.numFailedTests;
  // A file that cannot even be loaded has no tests to fail.
  const broken = report.testResults.filter(
    (file) => file.status === "failed" && file.assertionResults.length === 0,
  );
  failed += broken.length;
  for (const file of broken) console.log(`could not run ${file.name}: ${file.message}`);
} catch (error) {
  console.log(`no test report: ${error.message}`);
  failed += 1;
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
