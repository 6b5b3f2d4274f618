"""Keys of the prompt boxes: weights and order change as in AUTOMATIC1111, and what a key did can be undone."""

# before, up or right, after; «» holds what is selected, None: nothing happens
WEIGHTS = [
    ("a red c«»at", True, "a red («cat»:1.1)"),
    ("a red («cat»:1.1)", True, "a red («cat»:1.2)"),
    ("a red (c«»at:1.1)", False, "a red «cat»"),
    ("a «red cat» sits", False, "a («red cat»:0.9) sits"),
    (" « cat » ", True, "  («cat»:1.1)  "),
    ("(cat:0.«»9)", True, "«cat»"),
    ("(cat«»:-0.1)", False, "(«cat»:-0.2)"),
    ("dogs (c«»ats:1.9)", True, "dogs («cats»:2.0)"),
    ("((c«»at))", True, "(«cat»:1.3)"),
    ("«((cat))»", True, "(«cat»:1.3)"),
    ("[c«»at]", True, "«cat»"),
    ("[[c«»at]]", False, "(«cat»:0.7)"),
    ("(a (red:1.2) c«»at:1.1)", True, "(«a (red:1.2) cat»:1.2)"),
    ("(cat:1.1)«»", True, "(«cat»:1.2)"),
    ("(a (b c«»at", True, "(a (b («cat»:1.1)"),
    ("[c«»at:dog:0.5]", True, "[(«cat»:1.1):dog:0.5]"),
    ("{r«»ed|green}", True, "{(«red»:1.1)|green}"),
    (r"ganyu \(genshin\) h«»at", True, r"ganyu \(genshin\) («hat»:1.1)"),
    (r"cat\(ani«»mal\)", True, r"(«cat\(animal\)»:1.1)"),
    (r"(a \) c«»at:1.2)", True, r"(«a \) cat»:1.3)"),
    ("<lora:ink:0.8«»>", True, "<lora:ink:0.85«»>"),
    ("<lora:i«»nk:1>", True, "<lora:ink:1.05«»>"),
    ("<lora:i«»nk>", False, "<lora:ink:0.95«»>"),
    ("<lora:ink:0.5:1«»>", False, "<lora:ink:0.5:0.95«»>"),
    ("<lora:ink:0.«»5:1>", False, "<lora:ink:0.45«»:1>"),
    ("<lora:ink:te=0.«»5:unet=1>", False, "<lora:ink:te=0.45«»:unet=1>"),
    ("a BRE«»AK b", True, None),
    ("a  «»  b", True, None),
    ("«»", True, None),
]
ORDER = [
    ("a, b«», c", False, "b«», a, c"),
    ("a, b«», c", True, "a, c, b«»"),
    ("a, (b, c)«»", False, "(b, c)«», a"),
    ("one, «two, three», four", True, "one, four, «two, three»"),
    ("a\nb«»", False, "b«»\na"),
    ("a,, b«»", False, "b«»,, a"),
    ("a {x, y}«» , b", True, "b , a {x, y}«»"),
    ("a«», b", False, None),
    ("a, b«»,", True, None),
]


def read(shown: str) -> list:
    """Text, start and end of its selection."""
    return [shown.replace("«", "").replace("»", ""), shown.index("«"), shown.index("»") - 1]


def test_keys_change_weights_and_order_as_in_a1111(person):
    for act, cases in (("weighed", WEIGHTS), ("moved", ORDER)):
        for before, way, after in cases:
            made = person.page.evaluate(f"([text, start, end, way]) => window.sdui.{act}(text, start, end, way)", [*read(before), way])
            assert (made and [made["text"], made["start"], made["end"]]) == (after and read(after)), (act, before, way)


def test_what_a_key_did_is_heard_by_the_page_and_can_be_undone(person):
    box = person.page.locator("#field-negative_prompt textarea")
    box.fill("🌋 night, a red cat")
    for _ in range(2):
        box.press("Control+ArrowUp")
    box.press("Alt+ArrowLeft")
    assert box.input_value() == "a red (cat:1.2), 🌋 night"
    person.draws()
    assert person.server.last_job().request.negative_prompt == "a red (cat:1.2), 🌋 night"
    for _ in range(3):
        box.press("Control+z")
    assert box.input_value() == "🌋 night, a red cat"
