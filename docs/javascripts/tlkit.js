// What is wider than the page scrolls inside itself: let the keyboard reach it, too.
(() => {
  const names = {
    ".md-typeset__scrollwrap": "Table, scrolls sideways",
    ".tabbed-labels": "Tabs, scroll sideways",
  };
  const mark = () => {
    for (const [selector, name] of Object.entries(names)) {
      document.querySelectorAll(selector).forEach((each) => {
        if (each.scrollWidth > each.clientWidth) {
          each.tabIndex = 0;
          each.setAttribute("role", "region");
          each.setAttribute("aria-label", name);
        } else {
          ["tabindex", "role", "aria-label"].forEach((one) => each.removeAttribute(one));
        }
      });
    }
  };
  addEventListener("load", mark);
  addEventListener("resize", mark);
})();
