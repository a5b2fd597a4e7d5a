/** Where the page begins: it asks what it is to show, and tells the server that it is open. */

import { json, type RunSession, type Session } from "./api";
import { element, tell } from "./dom";
import { JobsPage } from "./jobs";
import { CASES } from "./place";
import { RunPage } from "./run_page";
import { ScanPage } from "./scan_page";
import { say, speak } from "./words";

/** How the address of `tomoseg view` ends: in its secret. Any other is that of `tomoseg serve`. */
const OF_VIEW = /\/[\w-]{22}\/$/;

async function begin(page: HTMLElement): Promise<void> {
  if (!OF_VIEW.test(location.pathname)) return new JobsPage().begin(page);
  const session = await json<Session | RunSession>("session");
  speak(session.language);
  stayOpen();
  if (session.kind === "run") return new RunPage(session).begin(page);
  return new ScanPage(session, CASES).begin(page);
}

/** A connection that lasts as long as the page: the server ends when it has none left. */
function stayOpen(): void {
  const open = new EventSource("open");
  open.addEventListener("error", () => {
    open.close();
    setTimeout(() => {
      json("session").then(stayOpen, () => tell(say("The server has ended. This page can be closed."), true));
    }, 1000);
  });
}

const page = document.querySelector<HTMLElement>("#page");
if (page !== null) {
  begin(page).catch((error: unknown) => {
    const told = error instanceof Error ? error.message : String(error);
    const back = location.hash === "" ? [] : [" ", element("a", { href: "#" }, say("All jobs"))];
    page.replaceChildren(element("p", { class: "refused", role: "alert" }, told, ...back));
  });
}
