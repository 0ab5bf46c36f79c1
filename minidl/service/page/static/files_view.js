// The files of a job's run, to download; pictures are shown.

import { get, jobPath } from "./api.js";
import { h } from "./dom.js";
import { bytes, moment } from "./format.js";
import { table } from "./tables.js";

export class FilesView {
  constructor(id) {
    this.id = id;
    this.element = h("div", {}, h("p", { class: "quiet" }, "Loading …"));
    this.refresh();
  }

  async refresh() {
    try {
      const { files, complete } = await get(jobPath(this.id, "artifacts"));
      if (files.length === 0) {
        this.element.replaceChildren(h("p", { class: "quiet empty" }, "There are no files yet."));
        return;
      }
      const address = (path) => jobPath(this.id, "artifacts", path.split("/").map(encodeURIComponent).join("/"));
      const pictures = files.filter(({ path }) => path.endsWith(".png")).map(({ path }) =>
        h("figure", {}, h("figcaption", {}, path),
          h("img", { src: address(path), alt: `${path}, as the run drew it`, loading: "lazy" })));
      const rows = files.map(({ path, size, modified }) => [
        h("a", { href: address(path), download: path.split("/").at(-1) }, path), bytes(size), moment(modified)]);
      this.element.replaceChildren(...[
        table("Files", ["file", "size", "changed"], rows, "left"),
        !complete && h("p", { class: "quiet" }, "There are more files than are listed here."), h("div", { class: "images" }, pictures)].filter(Boolean));
    } catch (error) {
      this.element.replaceChildren(h("p", { class: "empty quiet" }, error.message));
    }
  }
}
