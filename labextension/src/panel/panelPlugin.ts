// The main plugin: a model per notebook, the panel, commands, menu, status bar and settings.

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
import { ApiClient, followRuns } from "../api";
import { STATE_WORDS } from "../facts";
import { html } from "../graph/dom";
import { NotebookPipeline } from "../notebookPipeline";
import { CATEGORY, SHOW, addCommands } from "./commands";
import { PipelinePanel } from "./pipelinePanel";

export const ID = "@jupyter-pipelines/labextension:plugin";

export interface ExtensionSettings {
  badges: boolean;
  openPanel: boolean;
  notify: boolean;
  pause: number;
  jobs: number;
}

const DEFAULTS: ExtensionSettings = { badges: true, openPanel: false, notify: true, pause: 300, jobs: 0 };

// The pipelines of all open notebooks.
export class PipelineRegistry {
  readonly settings: ExtensionSettings = { ...DEFAULTS };
  private readonly models = new Map<NotebookPanel, NotebookPipeline>();
  private readonly addedSignal = new Signal<this, NotebookPipeline>(this);

  constructor(
    readonly api: ApiClient,
    private readonly notebooks: INotebookTracker,
  ) {}

  get added(): ISignal<this, NotebookPipeline> {
    return this.addedSignal;
  }

  modelOf(panel: NotebookPanel): NotebookPipeline {
    let model = this.models.get(panel);
    if (!model) {
      model = new NotebookPipeline(panel, this.api, this.settings);
      this.models.set(panel, model);
      panel.disposed.connect(() => this.models.delete(panel));
      this.addedSignal.emit(model);
    }
    return model;
  }

  get current(): NotebookPipeline | null {
    const panel = this.notebooks.currentWidget;
    return panel ? this.modelOf(panel) : null;
  }

  get all(): NotebookPipeline[] {
    return [...this.models.values()];
  }
}

export const IPipelines = new Token<PipelineRegistry>("jupyter-pipelines:IPipelines", "The pipelines of the notebooks that are open.");

export const panel: JupyterFrontEndPlugin<PipelineRegistry> = {
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
    const trans = (translator ?? nullTranslator).load("jupyter_pipelines");
    const pipelines = new PipelineRegistry(new ApiClient(app.serviceManager.serverSettings), notebooks);
    const side = new PipelinePanel(app, trans);
    side.id = "jupyter-pipelines-panel";
    side.title.label = labShell ? "" : trans.__("Pipeline");
    side.title.caption = trans.__("Pipeline");
    side.title.iconClass = "jp-pipelines-icon";
    app.shell.add(side, "right", { rank: 450, type: "Pipelines" });
    restorer?.add(side, "jupyter-pipelines-panel");
    const ids = addCommands(app, trans, () => pipelines.current, () => app.shell.activateById(side.id));
    ids.forEach((command) => palette?.addItem({ command, category: CATEGORY }));
    addMenu(app, menus, trans.__("Pipelines"), ids);
    loadSettings(registry, pipelines);
    const status = addStatus(app, statusBar);
    const show = () => {
      side.showModel(pipelines.current);
      status(pipelines.current);
    };
    pipelines.added.connect((_, model) => {
      model.changed.connect(() => model === pipelines.current && status(model));
      model.failed.connect((_m, failure) => pipelines.settings.notify && notifyFailure(model, failure));
      if (pipelines.settings.openPanel) {
        app.shell.activateById(side.id);
      }
    });
    notebooks.widgetAdded.connect((_, notebook) => void pipelines.modelOf(notebook));
    notebooks.currentChanged.connect(show);
    notebooks.forEach((notebook) => void pipelines.modelOf(notebook));
    show();
    followRuns(app.serviceManager.events, (event) => pipelines.all.forEach((model) => model.handleRunEvent(event)));
    handlePageEvents(app, pipelines);
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

function loadSettings(registry: ISettingRegistry | null, pipelines: PipelineRegistry): void {
  void registry
    ?.load(ID)
    .then((settings) => {
      const apply = () => {
        for (const name of Object.keys(DEFAULTS) as (keyof ExtensionSettings)[]) {
          const value = settings.composite[name];
          if (typeof value === typeof DEFAULTS[name]) {
            (pipelines.settings as unknown as Record<string, unknown>)[name] = value;
          }
        }
        pipelines.all.forEach((model) => void model.refresh(true));
      };
      apply();
      settings.changed.connect(apply);
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
    const count = (state: string) => steps.filter((status) => status.state === state).length;
    const parts = ["running", "reused", "failed", "stale"].map((state) => (count(state) ? `${count(state)} ${STATE_WORDS[state]}` : "")).filter((part) => part);
    shown.on = steps.length > 0;
    item.node.textContent = steps.length ? ["Pipeline: " + `${steps.length} steps`, ...parts].join(" · ") : "";
  };
}

function notifyFailure(model: NotebookPipeline, failure: { step: string; message: string }): void {
  Notification.error(`${failure.step}: ${failure.message}`.slice(0, 140), {
    autoClose: 8000,
    actions: [{ label: "Go to cell", callback: () => void model.show(model.indexOf(failure.step)) }],
  });
}

// Widgets and saved graphs in outputs have no reference to the plugin: they request actions by events of the document.
function handlePageEvents(app: JupyterFrontEnd, pipelines: PipelineRegistry): void {
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
    if (typeof detail.path === "string" && !detail.path.startsWith("/") && !detail.path.split("/").some((segment) => segment.startsWith("."))) {
      void app.commands.execute("docmanager:open", { path: detail.path });
    }
  });
}
