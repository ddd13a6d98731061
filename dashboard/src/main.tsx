// Starts the page: one tree, one stream.

import { render } from "preact";
import { App } from "./app.tsx";
import { startFeed } from "./feed.ts";

const root = document.getElementById("app");
if (root !== null) {
  root.replaceChildren();
  render(<App />, root);
  void startFeed();
}
