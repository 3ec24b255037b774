// What is wider than the page breaks, or scrolls inside itself, where the keyboard reaches it, too.
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
  // A long name in a table may break after an underscore or an equals sign; what is copied stays the same.
  const allowBreaks = () => {
    document.querySelectorAll("td code").forEach((each) => {
      const parts = each.textContent.split(/(?<=[_=:])(?=\w)/);
      if (parts.length > 1 && !each.children.length) {
        each.replaceChildren(...parts.flatMap((part) => [part, document.createElement("wbr")]));
      }
    });
  };
  addEventListener("load", allowBreaks);
  addEventListener("load", mark);
  addEventListener("resize", mark);
})();
