// For a page without Jupyter: as much of anywidget's model as the panels use.

/** A model of these values. Like Jupyter's, it tells its listeners of every change; there is no kernel to save it to. */
export function plainModel(state) {
  const listeners = new Set();
  return {
    get: (name) => state[name],
    set(name, value) {
      state[name] = value;
      listeners.forEach((listener) => listener());
    },
    on: (event, listener) => listeners.add(listener),
    off: (event, listener) => listeners.delete(listener),
    save_changes() {},
  };
}
