"""For schemathesis: no request is about the key in use, and each request has a key that works.

Schemathesis takes ids from responses, and a list has the id of the key that asks for it. The first
valid `POST /{id}/regenerate` would end that key, and the rest would be tested on 401 only.
"""

import os

import schemathesis


@schemathesis.hook
def before_call(_context, case, _arguments):
    if case.path_parameters.get("id") == os.environ["KEY_IN_USE"]:
        case.path_parameters["id"] = os.environ["OTHER_KEY"]


@schemathesis.check
def key_works(_context, response, _case):
    assert response.status_code != 401, "the key in use does not work any more"
