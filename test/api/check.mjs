// Holds the public types against the committed reports, one per entry of the package.
// `--update` writes the reports instead; what changed is then in the diff of the commit.
import { Extractor, ExtractorConfig } from "@microsoft/api-extractor";

const isUpdate = process.argv.includes("--update");
let failed = 0;
for (const entry of ["onehop", "onehop-discovery"]) {
  const path = new URL(`./${entry}.json`, import.meta.url).pathname;
  const result = Extractor.invoke(ExtractorConfig.loadFileAndPrepare(path), {
    localBuild: isUpdate,
    messageCallback: (message) => {
      message.handled = message.logLevel === "none" || message.logLevel === "verbose" || message.logLevel === "info";
    },
  });
  const isSame = isUpdate || !result.apiReportChanged;
  console.log(
    `${entry}: ${isUpdate ? "written" : isSame ? "as reported" : "CHANGED: run npm run api:update and look"}`,
  );
  if (!isSame || result.errorCount > 0) failed += 1;
}
process.exitCode = failed === 0 ? 0 : 1;
