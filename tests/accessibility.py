"""Check a page in a browser with axe-core, which knows the rules of accessible pages."""

import functools
from importlib.resources import files
from typing import Any

import pytest

_RUN = """async ([context, enabled]) => {
  const rules = { "color-contrast": { enabled } };
  const found = await axe.run(context, { resultTypes: ["violations"], iframes: false, rules });
  return found.violations
    .filter((rule) => ["serious", "critical"].includes(rule.impact))
    .map((rule) => `${rule.id} (${rule.impact}): ${rule.help}\\n`
      + rule.nodes.slice(0, 3).map((one) => `  ${one.html}\\n  ${one.failureSummary}`).join("\\n"));
}"""


@functools.cache
def _axe() -> str:
    pytest.importorskip("axe_playwright_python")
    return (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")


def find_barriers(
    page: Any, *, include: str = "html", exclude: str | None = None, colours: bool = True
) -> list[str]:
    """Return what is a serious or critical barrier on a page; skip the test without axe-core.

    Args:
        page: A page of Playwright.
        include: A CSS selector of what is checked.
        exclude: A CSS selector of what is not.
        colours: Whether contrasts are checked, which takes most of the time.
    """
    page.evaluate(_axe())
    context = {"include": [[include]], "exclude": [[exclude]] if exclude else []}
    found: list[str] = page.evaluate(_RUN, [context, colours])
    return found
