"""A browser holds a secret, the database only its hash."""

from sd_ui.jobs.owners import is_cookie, new_cookie, owner_of


def test_an_owner_is_the_same_for_the_same_cookie_and_does_not_tell_it():
    cookie, other = new_cookie(), new_cookie()
    assert owner_of(cookie) == owner_of(cookie) != owner_of(other)
    assert cookie not in owner_of(cookie) and len(owner_of(cookie)) == 32


def test_a_browser_cannot_choose_a_weak_cookie():
    assert is_cookie(new_cookie())
    for text in ("", "1", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "a" * 32 + "\n"):
        assert not is_cookie(text)
