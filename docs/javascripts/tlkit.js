// A table that is wider than the page scrolls inside itself: let the keyboard reach it, too.
(() => {
  const mark = () => {
    document.querySelectorAll(".md-typeset__scrollwrap").forEach((each) => {
      if (each.scrollWidth > each.clientWidth) {
        each.tabIndex = 0;
        each.setAttribute("role", "region");
        each.setAttribute("aria-label", "Table, scrolls sideways");
      } else {
        ["tabindex", "role", "aria-label"].forEach((name) => each.removeAttribute(name));
      }
    });
  };
  addEventListener("load", mark);
  addEventListener("resize", mark);
})();
