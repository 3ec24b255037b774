import re
from pathlib import Path

from tlkit.deployment.serving.refusal import CODES

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "serve.md"


def test_the_page_on_serving_lists_the_codes_of_every_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", PAGE.read_text("utf-8"), flags=re.M)
    listed = {int(status): tuple(re.findall(r"`(\w+)`", codes)) for status, codes in rows}
    assert listed == CODES
