// The widget in an output cell: what anywidget loads.
export default { render: () => undefined };
