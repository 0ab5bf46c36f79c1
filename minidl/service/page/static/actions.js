// What can be done to a job, and the question that is asked before.

import { ask, jobPath, post } from "./api.js";
import { announce, h } from "./dom.js";
import { brief, ended, title } from "./format.js";
import { question } from "./dialog.js";

/** Whether a user may change a job. */
export const mayChange = (me, job) => me.role === "admin" || (me.role === "submit" && job.owner === me.user);

/** Buttons for what can be done to a job in its state; `done(job)` is called afterwards. */
export function actions(job, me, { done, failed, deleted }) {
  if (!mayChange(me, job)) return [];
  const button = (text, look, act) =>
    h("button", { type: "button", class: look, "data-action": text, onclick: async () => {
      try {
        await act();
      } catch (error) {
        failed(error);
      }
    } }, text);
  if (!ended(job)) {
    return job.state === "cancelling" ? [] : [button("Cancel", "danger", () => cancel(job, done))];
  }
  const kept = !job.files_removed_at;
  return [
    kept && button("Resume", "", () => resume(job, done)),
    button("Retry", "", () => retry(job, done)),
    button("Delete", "danger", () => remove(job, deleted)),
  ].filter(Boolean);
}

async function cancel(job, done) {
  const text = job.state === "queued"
    ? "It has not begun; it will not run."
    : "It stops after the step it is in. Its checkpoint is kept, so it can be resumed.";
  if (!(await question({ title: `Cancel ${brief(job)}?`, text, action: "Cancel the job", danger: true }))) return;
  done(await post(jobPath(job.id, "cancel")));
  announce(`${title(job)} is being cancelled`);
}

async function retry(job, done) {
  const text = "It begins again from its config, in a new run. What it has measured so far is put aside.";
  if (!(await question({ title: `Retry ${brief(job)}?`, text, action: "Retry" }))) return;
  done(await post(jobPath(job.id, "retry")));
  announce(`${title(job)} is in the queue again`);
}

async function resume(job, done) {
  const field = h("textarea", { rows: "3", spellcheck: "false", class: "mono", placeholder: "trainer.epochs=20" });
  const overrides = await question({
    title: `Resume ${brief(job)}?`,
    text: "It goes on from its newest checkpoint.",
    content: [h("label", {}, "Changes to the config, one a line (none are needed)", field)],
    action: "Resume",
    read: () => field.value.split("\n").map((line) => line.trim()).filter(Boolean),
  });
  if (overrides === null) return;
  done(await post(jobPath(job.id, "resume"), { overrides }));
  announce(`${title(job)} is in the queue again`);
}

async function remove(job, deleted) {
  const text = "Its files, checkpoints, model and log are removed for good. Runs in MLflow stay.";
  if (!(await question({ title: `Delete ${brief(job)}?`, text, action: "Delete for good", danger: true }))) return;
  await ask("DELETE", jobPath(job.id));
  announce(`${title(job)} is deleted`);
  deleted();
}
