// Types of the documents that Python produces, and the interfaces between the parts of the front end.

export interface StateStyle {
  word: string;
  icon: string;
  light: [string, string];
  dark: [string, string];
}

export interface StepPort {
  name: string;
  from?: string;
  kind?: "value" | "file" | "folder";
  format?: string;
  optional?: boolean;
}

export interface GraphNode {
  id: string;
  kind: "step" | "file" | "group";
  name: string;
  x: number;
  y: number;
  width: number;
  height: number;
  group?: string;
  count?: number;
  cells?: { id: string | null; number: number }[];
  inputs?: StepPort[];
  outputs?: StepPort[];
  parameters?: string[];
  resources?: Record<string, unknown>;
  order?: number;
}

export interface GraphEdge {
  from: string;
  to: string | null;
  names?: string[];
  path: string;
  label?: [number, number] | null;
}

export interface GraphRail {
  id: string;
  lane: number;
  through: number[];
  from: number[];
  ends: number[];
  to: number[];
}

export interface Parameter {
  name: string;
  type: string;
  default: unknown;
  required?: boolean;
  nullable?: boolean;
  choices?: unknown[];
  limits?: Record<string, unknown>;
  description?: string;
  annotation?: string;
}

export interface GraphLayout {
  width: number;
  height: number;
  nodes: GraphNode[];
  edges: GraphEdge[];
}

export interface GraphDocument extends GraphLayout {
  schema: string;
  title: string;
  rails: GraphRail[];
  groups: { id: string; name: string; steps: string[] }[];
  overview: GraphLayout | null;
  parameters: Parameter[];
  looks: Record<string, StateStyle>;
}

export interface StepError {
  code?: string;
  message?: string;
  type?: string | null;
  cell?: number | null;
  line?: number | null;
}

export interface DecisionReason {
  code: string;
  text: string;
  details?: string[];
}

export interface StepStatus {
  state: string;
  detail?: string;
  seconds?: number;
  saved?: number;
  notes?: string[];
  since?: string;
  attempt?: number;
  cell?: number;
  cells?: number;
  text?: string;
  decision?: string;
  reason?: DecisionReason;
  next?: DecisionReason; // why the next run computes or reuses it, where `reason` is why it ran
  origin?: { run: string; created: string };
  key?: string | null;
  error?: StepError;
  notebook?: string;
}

export interface StatusDocument {
  schema?: string;
  steps: Record<string, StepStatus>;
  run?: string | null;
  running?: boolean;
  headline?: string;
  critical?: string[];
}

export interface OutputPreview {
  name: string;
  type?: string | null;
  format?: string | null;
  bytes?: number | null;
  digest?: string | null;
  shape?: number[] | null;
  columns?: { name: string; dtype: string }[] | null;
  head?: string[][] | null;
  text?: string | null;
  image?: string | null;
  outdated?: string;
  error?: string;
}

// Provides the details of a step: from a kernel through the widget, or from the server through REST.
export interface DetailsSource {
  live?: boolean; // logs may be polled
  preview(step: string, output: string): Promise<OutputPreview>;
  log(step: string): Promise<string>;
  dependencies?(step: string): Promise<string[]>; // what the stored result depends on, in lines as Python writes them
  openCell?(step: string): void;
  openNotebook?(step: string): void;
  debug?(step: string): void;
}

export type GraphEvent = "select" | "open";
export type GraphListener = (id: string) => void;

export interface PipelineView {
  setGraph(graph: GraphDocument): void;
  setStatuses(statuses: StatusDocument): void;
  select(id: string): void;
  on(event: GraphEvent, listener: GraphListener): void;
  dispose(): void;
}
