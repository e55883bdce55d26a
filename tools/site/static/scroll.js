// A box whose content is wider than itself can be scrolled with the keyboard, too; other boxes stay out of the Tab order.
const boxes = document.querySelectorAll("pre, .table-wrapper, .math");
const watch = new ResizeObserver((entries) => {
  for (const { target: box } of entries) {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", box.matches("pre") ? "Code, scrolls sideways" : "Scrolls sideways");
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  }
});
boxes.forEach((box) => watch.observe(box));
