// What brings it all together: one model for each notebook, the panel, the commands, menu, status bar and settings.

import { ILabShell, ILayoutRestorer } from "@jupyterlab/application";
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, Notification } from "@jupyterlab/apputils";
import { IMainMenu } from "@jupyterlab/mainmenu";
import { INotebookTracker } from "@jupyterlab/notebook";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { ISettingRegistry } from "@jupyterlab/settingregistry";
import { IStatusBar } from "@jupyterlab/statusbar";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import { Token } from "@lumino/coreutils";
import { ISignal, Signal } from "@lumino/signaling";
import { Menu, Widget } from "@lumino/widgets";
import { Api, followRuns } from "../api";
import { html } from "../graph/elements";
import { NotebookPipeline } from "../model";
import { CATEGORY, SHOW, addCommands } from "./commands";
import { PipelinePanel } from "./panel";

export const ID = "@jupyter-pipelines/labextension:plugin";

export interface Settings {
  badges: boolean;
  openPanel: boolean;
  notify: boolean;
  pause: number;
  jobs: number;
}

const USUAL: Settings = { badges: true, openPanel: false, notify: true, pause: 300, jobs: 0 };

// The pipelines of all notebooks that are open.
export class Pipelines {
  readonly settings: Settings = { ...USUAL };
  private readonly models = new Map<NotebookPanel, NotebookPipeline>();
  private readonly news = new Signal<this, NotebookPipeline>(this);

  constructor(
    readonly api: Api,
    private readonly notebooks: INotebookTracker,
  ) {}

  get added(): ISignal<this, NotebookPipeline> {
    return this.news;
  }

  of(panel: NotebookPanel): NotebookPipeline {
    let model = this.models.get(panel);
    if (!model) {
      model = new NotebookPipeline(panel, this.api, this.settings);
      this.models.set(panel, model);
      panel.disposed.connect(() => this.models.delete(panel));
      this.news.emit(model);
    }
    return model;
  }

  get current(): NotebookPipeline | null {
    const panel = this.notebooks.currentWidget;
    return panel ? this.of(panel) : null;
  }

  get all(): NotebookPipeline[] {
    return [...this.models.values()];
  }
}

export const IPipelines = new Token<Pipelines>("jupyter-pipelines:IPipelines", "The pipelines of the notebooks that are open.");

export const panel: JupyterFrontEndPlugin<Pipelines> = {
  id: ID,
  description: "The pipeline of the notebook that is open: side panel, commands, menu and status.",
  autoStart: true,
  provides: IPipelines,
  requires: [INotebookTracker],
  optional: [ICommandPalette, ILabShell, ILayoutRestorer, IMainMenu, IStatusBar, ISettingRegistry, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    notebooks: INotebookTracker,
    palette: ICommandPalette | null,
    labShell: ILabShell | null,
    restorer: ILayoutRestorer | null,
    menus: IMainMenu | null,
    statusBar: IStatusBar | null,
    registry: ISettingRegistry | null,
    translator: ITranslator | null,
  ) => {
    const words = (translator ?? nullTranslator).load("jupyter_pipelines");
    const pipelines = new Pipelines(new Api(app.serviceManager.serverSettings), notebooks);
    const side = new PipelinePanel(app, words);
    side.id = "jupyter-pipelines-panel";
    side.title.label = labShell ? "" : words.__("Pipeline");
    side.title.caption = words.__("Pipeline");
    side.title.iconClass = "jp-pipelines-icon";
    app.shell.add(side, "right", { rank: 450, type: "Pipelines" });
    restorer?.add(side, "jupyter-pipelines-panel");
    const ids = addCommands(app, words, () => pipelines.current, () => app.shell.activateById(side.id));
    ids.forEach((command) => palette?.addItem({ command, category: CATEGORY }));
    addMenu(app, menus, words.__("Pipelines"), ids);
    loadSettings(registry, pipelines);
    const status = addStatus(app, statusBar);
    const show = () => {
      side.follow(pipelines.current);
      status(pipelines.current);
    };
    pipelines.added.connect((_, model) => {
      model.changed.connect(() => model === pipelines.current && status(model));
      model.failed.connect((_m, failure) => pipelines.settings.notify && tellFailure(model, failure));
      if (pipelines.settings.openPanel) {
        app.shell.activateById(side.id);
      }
    });
    notebooks.widgetAdded.connect((_, one) => void pipelines.of(one));
    notebooks.currentChanged.connect(show);
    notebooks.forEach((one) => void pipelines.of(one));
    show();
    followRuns(app.serviceManager.events, (told) => pipelines.all.forEach((model) => model.heard(told)));
    listenToPage(app, pipelines);
    return pipelines;
  },
};

function addMenu(app: JupyterFrontEnd, menus: IMainMenu | null, label: string, ids: string[]): void {
  if (menus) {
    const menu = new Menu({ commands: app.commands });
    menu.id = "jp-mainmenu-pipelines";
    menu.title.label = label;
    ids.forEach((command) => menu.addItem({ command }));
    menus.addMenu(menu, true, { rank: 55 });
  }
}

function loadSettings(registry: ISettingRegistry | null, pipelines: Pipelines): void {
  void registry
    ?.load(ID)
    .then((found) => {
      const apply = () => {
        for (const name of Object.keys(USUAL) as (keyof Settings)[]) {
          const value = found.composite[name];
          if (typeof value === typeof USUAL[name]) {
            (pipelines.settings as unknown as Record<string, unknown>)[name] = value;
          }
        }
        pipelines.all.forEach((model) => void model.refresh(true));
      };
      apply();
      found.changed.connect(apply);
    })
    .catch((error: unknown) => console.warn("settings of jupyter-pipelines cannot be read", error));
}

// "Pipeline: 9 steps · 3 reused · 1 failed", a click on which opens the panel.
function addStatus(app: JupyterFrontEnd, bar: IStatusBar | null): (model: NotebookPipeline | null) => void {
  if (!bar) {
    return () => undefined;
  }
  const item = new Widget({ node: html("button", { type: "button", class: "jp-pipelines-status", style: "font:inherit;background:none;border:0;color:inherit;cursor:pointer" }) });
  item.node.addEventListener("click", () => void app.commands.execute(SHOW));
  const shown = { on: false };
  bar.registerStatusItem("jupyter-pipelines:status", { item, align: "left", rank: 5, isActive: () => shown.on });
  return (model) => {
    const steps = Object.values(model?.statuses.steps ?? {});
    const count = (state: string) => steps.filter((one) => one.state === state).length;
    const parts = ["running", "reused", "failed", "stale"].map((state) => (count(state) ? `${count(state)} ${state}` : "")).filter((one) => one);
    shown.on = steps.length > 0;
    item.node.textContent = steps.length ? ["Pipeline: " + `${steps.length} steps`, ...parts].join(" · ") : "";
  };
}

function tellFailure(model: NotebookPipeline, failure: { step: string; message: string }): void {
  Notification.error(`${failure.step}: ${failure.message}`.slice(0, 140), {
    autoClose: 8000,
    actions: [{ label: "Go to cell", callback: () => void model.show(model.indexOf(failure.step)) }],
  });
}

// Widgets and saved pictures stand in outputs, apart from us: they say what is wished by events of the page.
function listenToPage(app: JupyterFrontEnd, pipelines: Pipelines): void {
  const listen = (name: string, act: (model: NotebookPipeline, detail: Record<string, unknown>) => void) =>
    document.addEventListener(`jupyter-pipelines:${name}`, (event) => {
      const model = pipelines.current;
      if (model) {
        act(model, ((event as CustomEvent).detail ?? {}) as Record<string, unknown>);
      }
    });
  listen("open-step", (model, detail) => {
    const cell = typeof detail.cell === "string" ? model.indexOfCell(detail.cell) : -1;
    void model.show(cell >= 0 ? cell : model.indexOf(String(detail.step)));
  });
  listen("select-step", (model, detail) => model.select(String(detail.step ?? "")));
  listen("cancel", (model) => void model.cancel());
  listen("open-notebook", (_, detail) => {
    if (typeof detail.path === "string" && !detail.path.startsWith("/") && !detail.path.split("/").some((one) => one.startsWith("."))) {
      void app.commands.execute("docmanager:open", { path: detail.path });
    }
  });
}
