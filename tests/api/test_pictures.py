"""Pictures over HTTP, behind the guard: to their owner alone."""

import asyncio
import io

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette

from sd_ui import durable
from sd_ui.api import pictures
from sd_ui.api.guard import OWNER_COOKIE, Guard, Rules
from sd_ui.api.hosts import Hosts
from sd_ui.api.pictures import Thumbs, attachment
from sd_ui.jobs.owners import owner_of
from sd_ui.services import open_services
from sd_ui.settings import Settings
from sd_ui.spec.request import GenerationRequest, ImageToImage

ADA, EVE = "a" * 32, "e" * 32


@pytest.fixture
def services(tmp_path):
    services = open_services(Settings(outputs_dir=tmp_path / "outputs", models_dir=()), open_driver=lambda tell: None)
    yield services
    services.close()


@pytest.fixture
def get(services):
    app = Guard(Starlette(routes=pictures.routes(services)), Rules(Hosts("127.0.0.1")))

    async def sent(path, cookie):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as http:
            return await http.get(path, headers={"Cookie": f"{OWNER_COOKIE}={cookie}"} if cookie else {})

    return lambda path, cookie=ADA: asyncio.run(sent(path, cookie))


def kept(services, name="000001-5.png", format="PNG", size=(512, 384)):
    """A picture of Ada's, as id and bytes."""
    job = services.queue.submit(GenerationRequest(), owner_of(ADA))
    data = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(data, format)
    path = services.settings.outputs_dir / "2026-01-02" / name
    durable.write(path, data.getvalue())
    return services.gallery.add(job, 0, 5, path, *size, "0" * 64).id, data.getvalue()


@pytest.mark.parametrize(
    ("name", "format", "type"), [("1-5.png", "PNG", "image/png"), ("1-5.jpg", "JPEG", "image/jpeg"), ("1-5.webp", "WEBP", "image/webp")]
)
def test_the_owner_gets_every_byte_with_its_type(services, get, name, format, type):
    id, data = kept(services, name, format)
    answer = get(f"/pictures/{id}")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, data, type)
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff" and "sandbox" in answer.headers["content-security-policy"]
    assert "content-disposition" not in answer.headers


@pytest.mark.parametrize("end", ["", "/thumb", "?download=1"])
@pytest.mark.parametrize("cookie", [EVE, "", "a", "A" * 32])
def test_for_everybody_else_it_does_not_exist(services, get, end, cookie):
    id, _ = kept(services)
    get(f"/pictures/{id}/thumb")
    assert get(f"/pictures/{id}{end}", cookie).status_code == 404


@pytest.mark.parametrize("id", ["0" * 32, "..%2f..%2fsd_ui.db", "%00", "x" * 3000, "1"])
def test_an_unknown_picture_is_not_there(get, id):
    assert get(f"/pictures/{id}").status_code == 404


def test_a_picture_is_downloaded_under_its_name(services, get):
    id, data = kept(services)
    answer = get(f"/pictures/{id}?download=1")
    assert answer.content == data and answer.headers["content-disposition"].startswith('attachment; filename="000001-5.png"')


@pytest.mark.parametrize("name", ['a"b.png', "a\r\nSet-Cookie: x.png", "../../etc/passwd", ".png", "日本.png", "", "a" * 500])
def test_a_name_breaks_no_header(name):
    header = attachment(name)
    header.encode("ascii")
    assert "\r" not in header and "\n" not in header and "/" not in header.replace("UTF-8''", "") and header.count('"') == 2


def test_a_thumbnail_is_small_and_made_once(services, get):
    id, _ = kept(services)
    answer = get(f"/pictures/{id}/thumb")
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as thumb:
        assert thumb.size == (256, 192)
    (services.settings.outputs_dir / ".thumbs" / f"{id}.jpg").write_bytes(b"kept")
    assert get(f"/pictures/{id}/thumb").content == b"kept"


def test_a_deleted_picture_has_no_thumbnail_either(services, get):
    id, _ = kept(services)
    get(f"/pictures/{id}/thumb")
    services.gallery.delete(id, owner_of(ADA))
    assert get(f"/pictures/{id}").status_code == get(f"/pictures/{id}/thumb").status_code == 404


def test_thumbnails_do_not_pile_up(tmp_path):
    Image.new("RGB", (300, 300)).save(tmp_path / "big.png")
    thumbs = Thumbs(tmp_path / "thumbs", room=10)
    for i in range(40):
        thumbs.of(f"{i:032x}", tmp_path / "big.png")
    assert len(list((tmp_path / "thumbs").iterdir())) <= 10


def test_a_row_that_points_outside_serves_nothing(services, get, tmp_path):
    id, _ = kept(services)
    path = services.gallery.file(services.gallery.get(id, owner_of(ADA)))
    (tmp_path / "secret.png").write_bytes(b"secret")
    path.unlink()
    path.symlink_to(tmp_path / "secret.png")
    assert get(f"/pictures/{id}").status_code == 404


def given(services, cookie):
    ref = services.blobs.put(Image.new("RGB", (64, 64), "red"))
    services.queue.submit(GenerationRequest(source=ImageToImage(ref)), owner_of(cookie))
    return ref.sha256


def test_an_input_picture_is_shown_to_whoever_used_it(services, get):
    sha = given(services, ADA)
    assert get(f"/inputs/{sha}").headers["content-type"] == "image/png"
    assert get(f"/inputs/{sha}", EVE).status_code == 404
    given(services, EVE)
    assert get(f"/inputs/{sha}", EVE).status_code == 200


@pytest.mark.parametrize("sha", ["0" * 64, "..", "x", "A" * 64])
def test_an_unknown_input_picture_is_not_there(services, get, sha):
    given(services, ADA)
    assert get(f"/inputs/{sha}").status_code == 404
