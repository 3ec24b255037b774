// What is wider than the page breaks, or scrolls inside itself, where the keyboard reaches it, too.
(() => {
  const names = {
    ".md-typeset__scrollwrap": "Table, scrolls sideways",
    ".tabbed-labels": "Tabs, scroll sideways",
    ".tl-scroll": "Figure, scrolls sideways",
  };
  const isTooWide = (each) => each.scrollWidth > each.clientWidth;
  const mark = () => {
    for (const [selector, name] of Object.entries(names)) {
      document.querySelectorAll(selector).forEach((each) => {
        if (isTooWide(each)) {
          each.tabIndex = 0;
          each.setAttribute("role", "region");
          each.setAttribute("aria-label", name);
        } else {
          ["tabindex", "role", "aria-label"].forEach((one) => each.removeAttribute(one));
        }
      });
    }
  };
  // A table that is too wide gets less space between its cells. If it is too wide even then, it
  // scrolls, so its cells are as wide as they are easy to read.
  const fitTables = () => {
    document.querySelectorAll(".md-typeset__scrollwrap").forEach((each) => {
      each.classList.remove("tl-tight", "tl-wide");
      if (!isTooWide(each)) return;
      each.classList.add("tl-tight");
      if (isTooWide(each)) each.classList.replace("tl-tight", "tl-wide");
    });
  };
  // A figure of several charts beside each other stays legible on a phone: it scrolls.
  const fitFigures = () => {
    document.querySelectorAll("article p > img:only-child").forEach((each) => {
      const isWide = each.naturalWidth > 2.2 * each.naturalHeight;
      each.parentElement.classList.toggle("tl-scroll", isWide);
    });
  };
  const replaceParts = (node, pattern, make) => {
    const parts = node.textContent.split(pattern);
    if (parts.length > 1) node.replaceWith(...parts.map((part, at) => (at % 2 ? make(part) : part)));
  };
  const texts = (element) => [...element.childNodes].filter((one) => one.nodeType === Node.TEXT_NODE);
  // These do not break: an option such as --out, a number such as 1e-05, 9 %, (9 %) and ± 2.
  const whole = /((?<![\w-])--?\w[\w-]*|\d[\d.]*e-\d+|\(?[-+]?\d[\d.,]* %\)?|± \d[\d.]*)/;
  const keepTogether = () => {
    const keep = (part) => Object.assign(document.createElement("span"), { className: "tl-keep", textContent: part });
    document.querySelectorAll("article :is(:not(pre) > code, p, li, td, th)").forEach((each) => {
      texts(each).forEach((node) => replaceParts(node, whole, keep));
    });
  };
  // A long name in a table may break after an underscore or an equals sign; what is copied stays the same.
  const allowBreaks = () => {
    document.querySelectorAll("td code").forEach((each) => {
      texts(each).forEach((node) => {
        const parts = node.textContent.split(/(?<=[_=:])(?=\w)/);
        if (parts.length === 1) return;
        node.replaceWith(...parts.flatMap((part) => [part, document.createElement("wbr")]));
      });
    });
  };
  const fit = () => [fitTables, mark].forEach((step) => step());
  addEventListener("load", () => [keepTogether, allowBreaks, fitFigures, fit].forEach((step) => step()));
  addEventListener("resize", fit);
})();
