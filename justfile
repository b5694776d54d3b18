# Every recipe runs a step of `.ci/run`. The times are for two cores with a warm target folder; the first build of all
# dependencies adds about 4 minutes.

# The checks to run before each commit: 4 min
quick: format clippy test

# Every step, as CI runs them: 55 min from an empty target folder
all:
    .ci/run

# Formatting: 1 s
format:
    .ci/run format

# Lints with all features: 40 s
clippy:
    .ci/run clippy

# All tests that need no other program, and the code in the docs: 3 min
test:
    .ci/run tests

# The tests of one subject, such as `just only rotation`: 30 s
only NAME:
    cargo test --all-features --test behaviour {{NAME}}

# The tests that need PostgreSQL, a browser and other programs: 12 min
integration:
    .ci/run integration

# Only the tests of the PostgreSQL store: 3 min
pg:
    cargo test --all-features --test postgres -- --ignored --skip revocation:: --skip fleet::

# The crate with its minimum Rust version: 1 min
msrv:
    .ci/run msrv

# Tests without features, and with those whose code differs without another one: 5 min
features:
    .ci/run features

# The tests with a million keys: 5 min
millions:
    .ci/run millions

# Each feature alone, and all features but one, compile without a warning: 4 min
combinations:
    .ci/run combinations

# The rustdoc without a warning, as users and as docs.rs build it: 1 min
docs:
    .ci/run docsrs docs

# The guide, and every link: 1 min
guide:
    .ci/run guide

# The public API is the committed listing: 30 s
api-listing:
    .ci/run public-api

# Writes the listing of the public API: 30 s
update-api:
    UPDATE=1 .ci/run public-api

# The crate as it is published: 2 min
package:
    .ci/run package

# The management API against its OpenAPI document: 6 min
openapi:
    .ci/run api

# The commands of the README: 20 s
readme:
    .ci/run readme

# Generated clients in Python and TypeScript, and the guide's page about them: 1 min
sdk:
    .ci/run sdk

# Instruction counts of a request: 3 min
instructions:
    .ci/run instructions

# The benches compile without a warning: 2 min
bench:
    .ci/run bench

# The command `tower-api-key`, with PostgreSQL: 2 min
cli:
    .ci/run cli

# The fuzz target compiles: 20 s
fuzz:
    .ci/run fuzz

# Licenses and sources of the dependencies: 5 s
licenses:
    .ci/run licenses
