// Renames steps and outputs everywhere, and connects outputs to steps.

import { InputDialog, Notification } from "@jupyterlab/apputils";
import { messageOf } from "../notebookPipeline";
import type { NotebookPipeline } from "../notebookPipeline";

interface CellEdits {
  cells: Record<string, string>;
}

async function applyEdit(model: NotebookPipeline, route: string, body: Record<string, unknown>): Promise<void> {
  try {
    const { cells } = await model.api.post<CellEdits>(model.path, route, { cells: model.cellTexts(), ...body });
    model.writeCells(cells);
  } catch (error) {
    Notification.error(messageOf(error), { autoClose: 10_000 });
  }
}

export async function renameStep(model: NotebookPipeline, step: string): Promise<void> {
  const answer = await InputDialog.getText({ title: `Rename step ${step}`, label: "New name", text: step });
  if (answer.button.accept && answer.value && answer.value !== step) {
    await applyEdit(model, "rename", { kind: "step", from: step, to: answer.value });
    model.select(answer.value);
  }
}

export async function renameOutput(model: NotebookPipeline, step: string): Promise<void> {
  const outputs = model.graph?.nodes.find((node) => node.id === step)?.outputs?.map((output) => output.name) ?? [];
  if (!outputs.length) {
    Notification.info(`Step ${step} makes nothing that could be renamed.`, { autoClose: 4000 });
    return;
  }
  const output = outputs.length === 1 ? outputs[0] : (await InputDialog.getItem({ title: `Rename an output of ${step}`, items: outputs })).value;
  const answer = output ? await InputDialog.getText({ title: `Rename ${output}`, label: "New name", text: output }) : null;
  if (output && answer?.button.accept && answer.value && answer.value !== output) {
    await applyEdit(model, "rename", { kind: "output", step, from: output, to: answer.value });
  }
}

export async function connect(model: NotebookPipeline, source: string, target: string): Promise<void> {
  await applyEdit(model, "connect", { from: source, to: target });
}

export async function chooseAndConnect(model: NotebookPipeline, target: string): Promise<void> {
  const outputs = (model.graph?.nodes ?? []).flatMap((node) => (node.kind === "step" && node.id !== target ? (node.outputs ?? []).map((output) => `${node.id}.${output.name}`) : []));
  const answer = await InputDialog.getItem({ title: `Connect an output to ${target}`, label: "Output", items: outputs });
  if (answer.button.accept && answer.value) {
    await connect(model, answer.value, target);
  }
}
