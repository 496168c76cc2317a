"""Settings of the property tests.

By default they try the same examples in every run. To look for new ones:
`pytest tests/components --hypothesis-profile=explore`.
"""

from hypothesis import HealthCheck, settings

_COMMON = {
    "deadline": None,
    # Hypothesis makes its tables of characters when it needs them for the first time.
    "suppress_health_check": [HealthCheck.too_slow],
}
settings.register_profile("fixed", derandomize=True, max_examples=50, **_COMMON)
settings.register_profile("explore", max_examples=2000, **_COMMON)
if settings.get_current_profile_name() == "default":
    settings.load_profile("fixed")
