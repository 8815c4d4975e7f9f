// The graph of a notebook in a tab of its own, as large as the window.

import { Widget } from "@lumino/widgets";
import type { Message } from "@lumino/messaging";
import { Board } from "../graph/board";
import type { NotebookPipeline } from "../model";

export class GraphTab extends Widget {
  private readonly board: Board;
  private graphShown: unknown = null;

  constructor(
    private readonly model: NotebookPipeline,
  ) {
    super();
    this.addClass("jpp");
    const actions = {
      run: () => void model.run(),
      runTo: (step: string) => void model.run({ to: [step] }),
      force: (step: string) => void model.run({ to: [step], force: [step] }),
      cancel: () => void model.cancel(),
    };
    // The details of a step stand in the panel; here is room for the drawing.
    this.board = new Board(this.node, null, actions, (id) => model.select(id), true);
    this.board.view.on("open", (id) => void model.show(model.indexOf(id)));
    model.changed.connect(this.paint, this);
    model.panel.disposed.connect(() => this.close());
    this.paint();
  }

  protected override onResize(message: Widget.ResizeMessage): void {
    super.onResize(message);
    this.board.view.fit();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.board.view.fit();
  }

  private paint(): void {
    const { graph } = this.model;
    if (this.isDisposed || !graph) {
      return;
    }
    if (graph !== this.graphShown) {
      this.graphShown = graph;
      this.board.setGraph(graph);
    }
    this.board.setStatuses(this.model.statuses);
    this.board.select(this.model.selected);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.model.changed.disconnect(this.paint, this);
      this.board.dispose();
    }
    super.dispose();
  }
}
