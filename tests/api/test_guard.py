"""The door in front of everything, tried on a real Gradio page with real routes beside it."""

import asyncio
import base64
from dataclasses import replace

import gradio as gr
import httpx
import pytest
from gradio.routes import App
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from sd_ui.api.guard import Guard, Rules
from sd_ui.api.hosts import Hosts
from sd_ui.api.login import SESSION_COOKIE, Logins
from sd_ui.jobs.owners import OWNER_COOKIE, owner_of
from sd_ui.settings import Settings

HOST = "127.0.0.1:7860"
OWN = {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}
BROWSER = {"Accept": "text/html,application/xhtml+xml"}
PLAIN = Rules(Hosts("127.0.0.1"), max_body=1000)
RIGHT, WRONG = {"username": "ada", "password": "pass:wörd"}, {"username": "ada", "password": "guess"}
ALL_METHODS = ["POST", "PUT", "PATCH", "DELETE"]


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


async def whoami(request: Request):
    return JSONResponse({"owner": request.state.owner, "cookie": request.cookies.get(OWNER_COOKIE)})


async def swallow(request: Request):
    return PlainTextResponse(str(len(await request.body())))


async def echo(socket: WebSocket):
    await socket.accept()
    await socket.send_text("in")
    await socket.close()


ROUTES = [Route("/whoami", whoami), Route("/swallow", swallow, methods=ALL_METHODS), WebSocketRoute("/socket", echo)]


@pytest.fixture(scope="module")
def app():
    async def built():  # in a loop: Gradio would open one of its own, and leave it open
        with gr.Blocks() as blocks:
            box = gr.Textbox()
            box.submit(lambda text: text, box, box, api_name="say")
        blocks.root_path, blocks.theme, blocks.css, blocks.js, blocks.head = "", gr.themes.Default(), None, None, None
        blocks.css_paths, blocks.head_paths, blocks.config, blocks.max_file_size = [], [], blocks.get_config_file(), None
        blocks._set_html_css_theme_variables()
        return App.create_app(blocks, app_kwargs={"routes": ROUTES})

    return asyncio.run(built())


@pytest.fixture
def ask(app):
    """ask(method, path, rules, **httpx arguments): one request of a client without a memory."""

    async def sent(method, path, rules, client, base_url, more):
        transport = httpx.ASGITransport(app=Guard(app, rules), client=client)
        async with httpx.AsyncClient(transport=transport, base_url=base_url) as http:
            return await http.request(method, path, **more)

    def ask(method, path, rules=PLAIN, host=HOST, client=("10.0.0.7", 5000), scheme="http", headers=None, **more):
        more["headers"] = {"Host": host, **(headers or {})}
        return asyncio.run(sent(method, path, rules, client, f"{scheme}://{HOST}", more))

    return ask


def behind_login(clock=None, **more):
    return replace(PLAIN, logins=Logins({"ada": "pass:wörd"}, clock or Clock()), **more)


def set_cookies(answer):
    return {cookie.split("=")[0]: cookie for cookie in answer.headers.get_list("set-cookie")}


# ---------------------------------------------------------------- under which names
@pytest.mark.parametrize("host", ["localhost", "localhost:7860", "127.0.0.1:7860", "[::1]:7860", "[::1]", "LOCALHOST:7860", "localhost.:1"])
def test_this_machine_reaches_its_own_page(ask, host):
    assert ask("GET", "/whoami", host=host).status_code == 200


@pytest.mark.parametrize("path", ["/", "/whoami", "/config", "/gradio_api/info", "/gradio_api/upload", "/login", "/nothing"])
def test_a_rebound_name_reaches_nothing(ask, path):
    answer = ask("GET", path, host="evil.example:7860")
    assert answer.status_code == 403 and "--allowed-host" in answer.json()["detail"]


@pytest.mark.parametrize(
    "host", ["", "[", "[::1", "::1", "a b", "127.0.0.1@evil.example", "evil.example#localhost", "localhost:abc", "192.168.1.5:7860", "0.0.0.0:7860"]
)
def test_a_strange_host_is_refused(ask, host):
    assert ask("GET", "/whoami", host=host).status_code == 403


def test_a_forwarded_host_must_be_ours_too(ask):
    assert ask("GET", "/whoami", headers={"X-Forwarded-Host": "evil.example"}).status_code == 403
    assert ask("GET", "/whoami", headers={"X-Forwarded-Host": "localhost:7860"}).status_code == 200


def test_a_further_name_can_be_allowed(ask):
    rules = replace(PLAIN, hosts=Hosts("127.0.0.1", public=["sd.example.org"]))
    assert ask("GET", "/whoami", rules, host="sd.example.org").status_code == 200
    assert ask("GET", "/whoami", rules, host="sub.sd.example.org").status_code == 403


def test_a_server_for_the_local_network_answers_to_addresses_but_not_to_names(ask):
    rules = replace(PLAIN, hosts=Hosts("0.0.0.0"))
    assert ask("GET", "/whoami", rules, host="192.168.1.5:7860").status_code == 200
    assert ask("GET", "/whoami", rules, host="[fd00::5]:7860").status_code == 200
    assert ask("GET", "/whoami", rules, host="evil.example").status_code == 403


def test_a_share_link_is_let_in_once_it_is_known(ask):
    hosts = Hosts("127.0.0.1")
    rules = replace(PLAIN, hosts=hosts)
    assert ask("GET", "/whoami", rules, host="abc.gradio.live").status_code == 403
    hosts.publish("https://abc.gradio.live")
    assert ask("GET", "/whoami", rules, host="abc.gradio.live").status_code == 200
    assert ask("POST", "/swallow", rules, host="abc.gradio.live", headers={"Origin": "https://abc.gradio.live"}).status_code == 200
    assert ask("POST", "/swallow", rules, host="abc.gradio.live", headers={"Origin": "https://def.gradio.live"}).status_code == 403


def test_a_space_answers_its_platform_under_any_name(ask):
    rules = replace(PLAIN, hosts=Hosts("0.0.0.0", ["ada.hf.space"], on_space=True), space=True)
    assert ask("GET", "/whoami", rules, host="10.1.2.3:7860").status_code == 200
    assert ask("POST", "/swallow", rules, host="ada.hf.space", headers={"Origin": "https://ada.hf.space"}).status_code == 200
    assert ask("POST", "/swallow", rules, host="internal:7860", headers={"Origin": "https://ada.hf.space"}).status_code == 200
    assert ask("POST", "/swallow", rules, host="ada.hf.space", headers={"Origin": "https://evil.example"}).status_code == 403


# ---------------------------------------------------------------- other sites
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1", "file://", "http://127.0.0.1:7860@evil.example"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_origin_gets_nothing_even_by_get(ask, method, origin):
    assert ask(method, "/swallow" if method == "POST" else "/whoami", headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize("method", ALL_METHODS)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_changes_nothing(ask, method, site):
    assert ask(method, "/swallow", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}).status_code == 403


@pytest.mark.parametrize("headers", [{}, OWN, {"Origin": OWN["Origin"]}, {"Sec-Fetch-Site": "none"}, {"Referer": f"http://{HOST}/"}])
@pytest.mark.parametrize("method", ALL_METHODS)
def test_our_own_page_and_scripts_may_change_things(ask, method, headers):
    assert ask(method, "/swallow", headers=headers).status_code == 200


def test_a_page_that_tells_only_its_referer_is_judged_by_it(ask):
    assert ask("POST", "/swallow", headers={"Referer": "http://evil.example/x"}).status_code == 403


@pytest.mark.parametrize("path", ["/gradio_api/upload", "/gradio_api/run/say", "/gradio_api/queue/join", "/gradio_api/call/say", "/gradio_api/reset"])
def test_gradios_own_routes_are_behind_the_door(ask, path):
    assert ask("POST", path, headers={"Origin": "https://evil.example"}).status_code == 403
    assert ask("POST", path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_a_link_from_elsewhere_opens_the_page(ask):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert ask("GET", "/", headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_cannot_put_our_pictures_into_its_page(ask, site):
    assert ask("GET", "/whoami", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}).status_code == 403


@pytest.mark.parametrize("path", ["/gradio_api/mcp", "/gradio_api/mcp/", "/gradio_api/mcp/schema", "/gradio_api/mcp/sse"])
def test_mcp_is_closed_unless_it_is_switched_on(ask, path):
    answer = ask("POST", path)
    assert answer.status_code == 403 and "--mcp" in answer.json()["detail"]
    assert ask("POST", path, replace(PLAIN, mcp=True)).status_code in (404, 405)
    assert ask("POST", path, behind_login(mcp=True)).status_code == 401


# ---------------------------------------------------------------- how much
@pytest.mark.parametrize(
    "path", ["/gradio_api/file=http://10.0.0.1/x.png", "/gradio_api/file=HTTPS://a.example/x", "/gradio_api/proxy=http://a.example/"]
)
def test_pictures_of_other_servers_are_not_fetched_for_a_visitor(ask, path):
    assert ask("GET", path).status_code == 403


def test_a_request_that_says_it_is_too_large_is_not_read(ask):
    answer = ask("POST", "/swallow", content=b"x" * 1001)
    assert answer.status_code == 413 and "0.001 MB" in answer.json()["detail"]
    assert ask("POST", "/swallow", content=b"x" * 1000).text == "1000"


@pytest.mark.parametrize("path", ["/swallow", "/gradio_api/run/say", "/gradio_api/upload"])
def test_a_request_that_hides_its_size_is_counted_as_it_comes(ask, path):
    sent = []

    async def endless():
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        while len(sent) < 10_000:
            sent.append(None)
            yield b"x" * 100

    headers = {"Content-Type": "multipart/form-data; boundary=b" if "upload" in path else "application/json"}
    assert ask("POST", path, content=endless(), headers=headers).status_code == 413
    assert len(sent) < 20


# ---------------------------------------------------------------- what every answer carries
@pytest.mark.parametrize("path", ["/", "/whoami", "/nothing", "/theme.css", "/login"])
def test_every_answer_carries_the_security_headers(ask, path):
    headers = ask("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"] and "default-src" in headers["content-security-policy"]


def test_refusals_carry_them_too(ask):
    assert ask("GET", "/", host="evil.example").headers["x-content-type-options"] == "nosniff"


def test_a_space_may_be_framed_by_its_platform_alone(ask):
    headers = ask("GET", "/", replace(PLAIN, space=True)).headers
    assert "x-frame-options" not in headers
    assert headers["content-security-policy"].endswith("frame-ancestors 'self' https://huggingface.co https://*.huggingface.co")


# ---------------------------------------------------------------- whose request it is
def test_the_first_visit_makes_an_owner(ask):
    answer = ask("GET", "/whoami")
    secret, flags = set_cookies(answer)[OWNER_COOKIE].removeprefix(f"{OWNER_COOKIE}=").split("; ", 1)
    assert len(secret) == 32 and answer.json()["owner"] == owner_of(secret)
    assert flags == "Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"


def test_the_page_itself_sets_the_owner(ask):
    assert OWNER_COOKIE in set_cookies(ask("GET", "/"))


def test_later_visits_keep_the_owner(ask):
    secret = "0123456789abcdef" * 2
    answer = ask("GET", "/whoami", headers={"Cookie": f"a=b; {OWNER_COOKIE}={secret}"})
    assert answer.json() == {"owner": owner_of(secret), "cookie": secret} and not set_cookies(answer)


@pytest.mark.parametrize("weak", ["", "1", "0" * 31, "0" * 33, "Z" * 32, "../../etc/passwd"])
def test_nobody_chooses_a_weak_owner(ask, weak):
    answer = ask("GET", "/whoami", headers={"Cookie": f"{OWNER_COOKIE}={weak}"})
    made = set_cookies(answer)[OWNER_COOKIE].split(";")[0].partition("=")[2]
    assert answer.json()["owner"] == owner_of(made) and answer.json()["cookie"] in ("", made)


def test_two_browsers_are_two_owners(ask):
    assert ask("GET", "/whoami").json()["owner"] != ask("GET", "/whoami").json()["owner"]


def test_the_cookie_is_secure_where_the_connection_is(ask):
    assert "; Secure; SameSite=Lax" in set_cookies(ask("GET", "/whoami", scheme="https"))[OWNER_COOKIE]
    hosts = Hosts("127.0.0.1")
    hosts.publish("https://abc.gradio.live")
    assert "; Secure" in set_cookies(ask("GET", "/whoami", replace(PLAIN, hosts=hosts), host="abc.gradio.live"))[OWNER_COOKIE]


def test_in_the_frame_of_a_space_the_cookie_still_comes_back(ask):
    assert "; Secure; SameSite=None; Partitioned" in set_cookies(ask("GET", "/whoami", replace(PLAIN, space=True)))[OWNER_COOKIE]


# ---------------------------------------------------------------- login
@pytest.mark.parametrize(
    "path", ["/whoami", "/config", "/gradio_api/info", "/gradio_api/token", "/gradio_api/heartbeat/x", "/theme.css", "/openapi.json"]
)
def test_without_a_login_nothing_is_answered(ask, path):
    assert ask("GET", path, behind_login()).status_code == 401


@pytest.mark.parametrize("path", ["/swallow", "/gradio_api/upload", "/gradio_api/run/say", "/gradio_api/cancel", "/gradio_api/queue/join"])
def test_without_a_login_nothing_is_taken(ask, path):
    assert ask("POST", path, behind_login(), content=b"x").status_code == 401


def test_a_browser_is_led_to_the_login_page(ask):
    rules = behind_login()
    answer = ask("GET", "/", rules, headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    page = ask("GET", "/login", rules, headers=BROWSER)
    assert page.status_code == 200 and 'action="/login"' in page.text and "default-src 'none'" in page.headers["content-security-policy"]


def test_behind_a_proxys_path_the_login_stays_there(ask):
    rules = behind_login(root_path="https://example.org/sd")
    assert ask("GET", "/", rules, headers=BROWSER).headers["location"] == "/sd/login"
    assert 'action="/sd/login"' in ask("GET", "/login", rules).text
    assert ask("POST", "/login", rules, headers=BROWSER, data=RIGHT).headers["location"] == "/sd/"


def test_the_right_password_opens_the_page_for_a_day(ask):
    clock = Clock()
    rules = behind_login(clock)
    answer = ask("POST", "/login", rules, headers={**BROWSER, **OWN}, data=RIGHT)
    cookie = set_cookies(answer)[SESSION_COOKIE]
    assert (answer.status_code, answer.headers["location"]) == (303, "/") and "; HttpOnly; SameSite=Lax" in cookie
    entered = {"Cookie": cookie.split(";")[0]}
    assert ask("GET", "/whoami", rules, headers=entered).status_code == 200
    clock.now += 24 * 3600 + 1
    assert ask("GET", "/whoami", rules, headers=entered).status_code == 401


def test_a_client_without_a_page_gets_json(ask):
    answer = ask("POST", "/login", behind_login(), data=RIGHT)
    assert answer.json() == {"success": True} and {SESSION_COOKIE, OWNER_COOKIE} <= set_cookies(answer).keys()
    assert ask("POST", "/login", behind_login(), data=WRONG).status_code == 401


@pytest.mark.parametrize("form", [WRONG, {"username": "eve", "password": "pass:wörd"}, {"username": "ada"}, {}, {"username": "ada", "password": ""}])
def test_a_wrong_login_says_so_and_enters_nothing(ask, form):
    answer = ask("POST", "/login", behind_login(), headers=BROWSER, data=form)
    assert answer.status_code == 401 and "User or password is wrong" in answer.text and SESSION_COOKIE not in set_cookies(answer)


@pytest.mark.parametrize("body", [b"\xff\xfe", b"{" * 500, b"a=b&" * 250, b"username=ada&password=" + b"x" * 970])
def test_nonsense_is_no_login(ask, body):
    assert ask("POST", "/login", behind_login(), content=body).status_code == 401


def test_after_five_mistakes_even_the_right_password_waits(ask):
    clock = Clock()
    rules = behind_login(clock)
    assert [ask("POST", "/login", rules, data=WRONG).status_code for _ in range(6)] == [401] * 5 + [429]
    answer = ask("POST", "/login", rules, data=RIGHT)
    assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 61
    assert ask("POST", "/login", rules, data=RIGHT, client=("10.0.0.8", 1)).status_code == 200
    clock.now += 61
    assert ask("POST", "/login", rules, data=RIGHT).status_code == 200


def test_whoever_goes_on_guessing_waits_twice_as_long_each_time(ask):
    clock = Clock()
    rules = behind_login(clock)
    waits = []
    for _ in range(9):
        answer = ask("POST", "/login", rules, data=WRONG)
        if answer.status_code == 429:
            waits.append(int(answer.headers["retry-after"]))
            clock.now += waits[-1]
            ask("POST", "/login", rules, data=WRONG)
    assert waits == [61, 121, 241, 481]


def test_one_network_of_the_new_internet_counts_as_one_address(ask):
    rules = behind_login()
    for i in range(5):
        ask("POST", "/login", rules, data=WRONG, client=(f"2001:db8::{i}", 1))
    assert ask("POST", "/login", rules, data=RIGHT, client=("2001:db8::ffff", 1)).status_code == 429
    assert ask("POST", "/login", rules, data=RIGHT, client=("2001:db8:1::1", 1)).status_code == 200


def test_over_a_share_link_mistakes_count_by_user(ask):
    rules = behind_login()
    rules.hosts.publish("https://abc.gradio.live")
    shared = replace(rules, hosts=Hosts("127.0.0.1"))
    shared.hosts.publish("https://abc.gradio.live")
    for i in range(5):
        ask("POST", "/login", shared, host="abc.gradio.live", data=WRONG, client=(f"10.0.0.{i}", 1))
    assert ask("POST", "/login", shared, host="abc.gradio.live", data=RIGHT, client=("10.9.9.9", 1)).status_code == 429
    assert ask("POST", "/login", shared, data=RIGHT).status_code == 200


def test_logging_out_ends_the_session(ask):
    rules = behind_login()
    entered = {"Cookie": set_cookies(ask("POST", "/login", rules, data=RIGHT))[SESSION_COOKIE].split(";")[0]}
    assert ask("GET", "/logout", rules, headers=entered | {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status_code == 403
    assert ask("GET", "/whoami", rules, headers=entered).status_code == 200
    left = ask("GET", "/logout", rules, headers=entered)
    assert left.status_code == 303 and "Max-Age=0" in set_cookies(left)[SESSION_COOKIE]
    assert ask("GET", "/whoami", rules, headers=entered).status_code == 401


def authorization(text):
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_http_basic_is_a_login_too(ask):
    assert ask("GET", "/whoami", behind_login(), headers=authorization("ada:pass:wörd")).status_code == 200
    answer = ask("GET", "/whoami", behind_login(), headers=authorization("ada:no"))
    assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Basic")


def test_http_basic_is_counted_like_any_guess(ask):
    rules = behind_login()
    assert [ask("GET", "/whoami", rules, headers=authorization("ada:no")).status_code for _ in range(6)] == [401] * 5 + [429]


@pytest.mark.parametrize("value", ["", "Basic", "Basic ", "Basic Og==", "Basic ???", "Bearer x"])
def test_an_empty_authorization_is_none(ask, value):
    assert ask("GET", "/whoami", headers={"Authorization": value}).status_code == 200
    rules = behind_login()
    assert [ask("GET", "/whoami", rules, headers={"Authorization": value}).status_code for _ in range(7)] == [401] * 7


@pytest.mark.parametrize("token", ["", "x", "a" * 5000])
def test_a_made_up_session_opens_nothing(ask, token):
    assert ask("GET", "/whoami", behind_login(), headers={"Cookie": f"{SESSION_COOKIE}={token}"}).status_code == 401


def test_another_site_cannot_log_somebody_in(ask):
    assert ask("POST", "/login", behind_login(), data=RIGHT, headers={"Origin": "https://evil.example"}).status_code == 403


def test_where_no_password_is_asked_logging_in_is_harmless(ask):
    assert ask("POST", "/login", data=RIGHT).json() == {"success": True}
    assert ask("GET", "/login", headers=BROWSER).headers["location"] == "/"


def test_gradio_may_ask_itself_whether_it_runs(ask):
    assert ask("GET", "/gradio_api/startup-events", behind_login()).status_code == 200


# ---------------------------------------------------------------- sockets, and where the rules come from
def knock(app, rules, headers):
    """What a WebSocket handshake is answered with."""
    scope = {
        "type": "websocket",
        "path": "/socket",
        "raw_path": b"/socket",
        "query_string": b"",
        "scheme": "ws",
        "subprotocols": [],
        "client": ("10.0.0.7", 1),
    }
    scope["headers"] = [(name.lower().encode(), value.encode()) for name, value in {"Host": HOST, **headers}.items()]
    said = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        said.append(message["type"])

    asyncio.run(Guard(app, rules)(scope, receive, send))
    return said[0]


def test_a_socket_is_opened_for_our_own_page_alone(app):
    assert knock(app, PLAIN, {"Origin": f"http://{HOST}"}) == "websocket.accept"
    assert knock(app, PLAIN, {"Origin": "https://evil.example"}) == "websocket.close"
    assert knock(app, PLAIN, {"Host": "evil.example"}) == "websocket.close"


def test_a_socket_needs_a_login_too(app, ask):
    rules = behind_login()
    assert knock(app, rules, {"Origin": f"http://{HOST}"}) == "websocket.close"
    session = set_cookies(ask("POST", "/login", rules, data=RIGHT))[SESSION_COOKIE].split(";")[0]
    assert knock(app, rules, {"Origin": f"http://{HOST}", "Cookie": session}) == "websocket.accept"


def test_the_rules_follow_from_the_settings():
    rules = Rules.of(Settings(auth=("ada:x",), allowed_host=("sd.example.org",), root_path="https://proxy.example/sd", max_request_mb=7))
    assert rules.logins is not None and rules.max_body == 7_000_000 and not rules.mcp and rules.url("/login") == "/sd/login"
    assert rules.hosts.knows("sd.example.org") and rules.hosts.knows("proxy.example") and not rules.hosts.knows("evil.example")
    assert Rules.of(Settings()).logins is None
    on_space = Rules.of(Settings(host="0.0.0.0", space="ada.hf.space"))
    assert on_space.space and on_space.hosts.knows("anything") and on_space.hosts.own("https://ada.hf.space", "10.0.0.1:7860")


def test_whoever_asks_about_the_page_without_reading_it_is_treated_alike(ask):
    assert ask("HEAD", "/", behind_login()).status_code == 401
    assert ask("HEAD", "/", host="evil.example").status_code == 403
