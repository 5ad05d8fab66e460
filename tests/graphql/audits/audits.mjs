// node audits.mjs URL: prints, as JSON, what each of graphql-http's audits found: id, name, status, reason.
import { serverAudits } from "graphql-http";

const found = [];
// One after another: an answer is then to the audit that asked.
for (const audit of serverAudits({ url: process.argv[2] })) {
  const result = await audit.fn();
  await result.response?.body?.cancel?.().catch(() => {});
  found.push({ id: result.id, name: result.name, status: result.status, reason: result.reason ?? null });
}
console.log(JSON.stringify(found));
