"""Where secrets may stand in expressions."""

import pytest

from app.engine.language.secret_shapes import looks_into_secrets


@pytest.mark.parametrize(
    "source",
    [
        "secrets.crm",
        "secrets.crm.key",
        'secrets["a name"].key',
        "upper(secrets.crm)",
        "secrets.crm.upper()",
        "secrets?.crm ?? input.x",
        "'Bearer ' + secrets.crm",
        "{key: secrets.crm, others: [secrets.crm]}",
        "join([secrets.a.user, secrets.a.password], ':')",
        "input.live ? secrets.live : secrets.test",
        "slice(input.x, 0, 1)",
        "input.x == 'secrets'",
        "input.secrets[0]",
    ],
)
def test_a_secret_may_be_passed_on_whole(source: str) -> None:
    assert not looks_into_secrets(source)


@pytest.mark.parametrize(
    "source",
    [
        "secrets.crm == 'a'",
        "input.x < secrets.crm",
        "slice(secrets.crm, 0, 1)",
        "secrets.crm.slice(0, 1)",
        "secrets.crm[0]",
        "secrets.crm[input.n]",
        "size(secrets.crm)",
        "secrets.crm.starts_with('a') ? 1 : 2",
        "input.x.contains(secrets.crm)",
        "{secret: secrets.crm}.secret.slice(0, 1)",
        "[secrets.crm][0].size()",
        "input.list.map(x, secrets.crm)",
        "secrets.crm.split('').map(x, x)",
        "secrets.crm && true",
        "!secrets.crm",
        "-secrets.crm",
        "keys(secrets.crm)",
        "input.table[secrets.crm]",
        "(input.a ? secrets.crm : 'b') == 'x'",
        "upper(slice(secrets.crm, 0, 1))",
        "'a' + (secrets.crm < 'b' ? 'x' : 'y')",
    ],
)
def test_a_secret_is_not_looked_into(source: str) -> None:
    assert looks_into_secrets(source)
