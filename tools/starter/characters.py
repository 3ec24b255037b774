"""The characters that the starter learns: letters, digits and symbols of many scripts."""

# ruff: noqa: RUF001  # similar letters are intended

LATIN_FONTS, OTHER_FONTS = 400, 90  # maximum number of fonts for a character

LOOK_ALIKE = {"0": "O", "o": "O", "l": "I", **{letter: letter.upper() for letter in "csvwxz"}}
_LATIN = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SYMBOLS = "&@#%?!*+=<>$€£§¶†{}[]()~/←↑→↓↔∑∏∫√∞≈≠≤≥∂∇∈∩∪∀∃⊂⊕⊗■▲●★♠♣♥♦♪☀☂☎☺✂✈✉✓✗Ωßæøþðñçåéü"
_KANJI = (
    "一二三四五六七八九十百千万円時日月火水木金土年左右上下大小中天気雨空山川田石花草虫犬人名女男子目耳口"
    "手足見音力車糸貝赤青白黒早先生学校字文本村町森林正立休入出王玉竹夕東西南北春夏秋冬父母兄弟姉妹友道馬"
    "鳥魚牛羊風雪雲星海船門間店京家寺国語読書話言電食飲米茶肉色形体頭首心思牧池谷里野原"
)
_GREEK_AND_CYRILLIC = "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπρστφψωБГДЖЗИЛПУФЦЧШЩЪЫЭЮЯбвд"
_BLOCKS = (  # first and last code point of letters and digits, one script each
    (0x05D0, 0x05EA),  # Hebrew
    (0x0627, 0x064A),  # Arabic
    (0x0661, 0x0669),
    (0x0531, 0x0556),  # Armenian
    (0x10D0, 0x10F0),  # Georgian
    (0x0905, 0x0939),  # Devanagari
    (0x0966, 0x096F),
    (0x0995, 0x09B9),  # Bengali
    (0x09E6, 0x09EF),
    (0x0A15, 0x0A39),  # Gurmukhi
    (0x0A95, 0x0AB9),  # Gujarati
    (0x0B95, 0x0BB9),  # Tamil
    (0x0C15, 0x0C39),  # Telugu
    (0x0C95, 0x0CB9),  # Kannada
    (0x0D15, 0x0D39),  # Malayalam
    (0x0D9A, 0x0DC6),  # Sinhala
    (0x0E01, 0x0E2E),  # Thai
    (0x0E50, 0x0E59),
    (0x0E81, 0x0EAE),  # Lao
    (0x1000, 0x1021),  # Burmese
    (0x0F40, 0x0F69),  # Tibetan
    (0x1780, 0x17A2),  # Khmer
    (0x3042, 0x3093),  # Hiragana
    (0x30A2, 0x30F3),  # Katakana
)


def fonts_per_character() -> dict[str, int]:
    """Return all characters to draw, each with its maximum number of fonts."""
    letters = [chr(code) for first, last in _BLOCKS for code in range(first, last + 1)]
    letters += [chr(0xAC00 + 588 * lead + 28 * vowel) for lead in range(19) for vowel in (0, 4, 13)]
    letters += [chr(0x1200 + 8 * row) for row in range(32)]  # Ethiopic
    letters += [*_GREEK_AND_CYRILLIC, *_SYMBOLS, *_KANJI]
    return {**dict.fromkeys(letters, OTHER_FONTS), **dict.fromkeys(_LATIN, LATIN_FONTS)}
