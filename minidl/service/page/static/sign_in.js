// Signing in: a token is exchanged for a cookie that no script can read, so the page never keeps it.

import { post } from "./api.js";
import { h, say, shown } from "./dom.js";

export class SignIn {
  title = "Sign in";

  /** `done()` is called once the service has taken a token. */
  constructor(done) {
    this.heading = h("h1", { tabindex: "-1" }, "Sign in");
    this.field = h("input", { id: "token", type: "password", autocomplete: "current-password", required: true,
      spellcheck: "false", placeholder: "minidl_…", "aria-describedby": "token-hint token-error" });
    this.error = h("p", { id: "token-error", class: "bad", role: "alert", hidden: true });
    const button = h("button", { type: "submit", class: "primary" }, "Sign in");
    this.element = h("div", { class: "sign-in" }, this.heading,
      h("form", { onsubmit: async (event) => {
        event.preventDefault();
        button.disabled = true;
        try {
          await post("session", { token: this.field.value.trim() });
          this.field.value = "";
          done();
        } catch (error) {
          say(this.error, error.status === 401 ? "The service does not know this token, or it has expired or been revoked." : error.message);
          shown(this.error, true);
          this.field.focus();
        } finally {
          button.disabled = false;
        }
      } },
      // Password stores file a secret under a name.
      h("input", { type: "text", autocomplete: "username", value: "minidl", hidden: true }),
      h("label", { for: "token" }, "Token"), this.field, this.error,
      h("p", { id: "token-hint", class: "quiet small" }, "The service printed one at its first start; ",
        h("code", {}, "minidl token create"), " makes more."),
      button));
  }
}
