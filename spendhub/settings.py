"""Django settings of SpendHub. Everything that varies comes from the environment: docs/settings.md."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from spendhub.bounded_postgres import BoundedConnection
from spendhub.dashboard.theme import UNFOLD as UNFOLD
from spendhub.environment import Environment, WrongSetting
from spendhub.errors import InvalidMoney
from spendhub.money import parse_usd

BASE_DIR = Path(__file__).resolve().parent.parent
ENVIRONMENT = Environment(BASE_DIR)

# --- where things are -------------------------------------------------------------------------
VAR_DIR = ENVIRONMENT.path("SPENDHUB_VAR_DIR", BASE_DIR / "var")
SECRET_KEY = ENVIRONMENT.secret_key("SECRET_KEY", VAR_DIR / "secret_key")
# They seal vendors' keys in the database: the first seals, all of them open, and so does one made from SECRET_KEY.
ENCRYPTION_KEYS = ENVIRONMENT.fernet_keys("SPENDHUB_ENCRYPTION_KEYS")
DEBUG = ENVIRONMENT.flag("SPENDHUB_DEBUG", False)
ALLOWED_HOSTS = ENVIRONMENT.words("SPENDHUB_ALLOWED_HOSTS", ["*"])
CSRF_TRUSTED_ORIGINS = ENVIRONMENT.origins("SPENDHUB_TRUSTED_ORIGINS")
LOG_LEVEL = ENVIRONMENT.one_of("SPENDHUB_LOG_LEVEL", "INFO", ["DEBUG", "INFO", "WARNING", "ERROR"])
# Behind a proxy that ends TLS: cookies are then sent over https only.
SECURE_COOKIES = ENVIRONMENT.flag("SPENDHUB_SECURE_COOKIES", False)

# Where `serve` listens, and in how many processes, unless its own options say otherwise.
SPENDHUB_HOST = ENVIRONMENT.ipv4_address("SPENDHUB_HOST", "127.0.0.1")
PORT = ENVIRONMENT.whole("PORT", 8000, at_least=1, at_most=65_535)
WORKERS = ENVIRONMENT.whole("WORKERS", 1, at_least=1, at_most=1000)

# How long calls in flight may take to finish when a server process is told to stop.
DRAIN_SECONDS = ENVIRONMENT.whole("SPENDHUB_DRAIN_SECONDS", 30, at_least=1, at_most=3600)
# Threads per server process for everything but /v1: admin, API, static files.
WEB_THREADS = ENVIRONMENT.whole("SPENDHUB_WEB_THREADS", 8, at_least=1, at_most=100)

# How many proxies of ours stand in front: that many entries of X-Forwarded-For are believed, and X-Forwarded-Proto.
TRUSTED_PROXIES = ENVIRONMENT.whole("SPENDHUB_TRUSTED_PROXIES", 0, at_least=0, at_most=10)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
FAILED_AUTHENTICATIONS_PER_MINUTE = ENVIRONMENT.whole(
    "SPENDHUB_FAILED_AUTHENTICATIONS_PER_MINUTE", 30, at_least=1, at_most=100_000
)

# --- how the money is guarded ------------------------------------------------------------------
CALL_HOLD_SECONDS = ENVIRONMENT.whole("SPENDHUB_CALL_HOLD_SECONDS", 60, at_least=5, at_most=3600)
RESERVATION_TTL_SECONDS = ENVIRONMENT.whole("SPENDHUB_RESERVATION_TTL_SECONDS", 60, at_least=1, at_most=86_400)
REDIS_TIMEOUT_SECONDS = ENVIRONMENT.whole("SPENDHUB_REDIS_TIMEOUT_SECONDS", 1, at_least=1, at_most=10)
IDEMPOTENCY_HOURS = ENVIRONMENT.whole("SPENDHUB_IDEMPOTENCY_HOURS", 24, at_least=1, at_most=720)
LEARN_OUTPUTS = ENVIRONMENT.flag("SPENDHUB_LEARN_OUTPUTS", default=True)
UPSTREAM_RETRIES = ENVIRONMENT.whole("SPENDHUB_UPSTREAM_RETRIES", 1, at_least=0, at_most=10)
# A vendor that asks for a longer pause than this is not waited for: another model is asked, or the client told.
LONGEST_RETRY_PAUSE_SECONDS = 5.0
BREAKER_FAILURES = ENVIRONMENT.whole("SPENDHUB_BREAKER_FAILURES", 5, at_least=1, at_most=1_000_000)
BREAKER_OPEN_SECONDS = ENVIRONMENT.whole("SPENDHUB_BREAKER_OPEN_SECONDS", 30, at_least=1, at_most=3600)
DEFAULT_OUTPUT_TOKENS = ENVIRONMENT.whole("SPENDHUB_DEFAULT_OUTPUT_TOKENS", 1024, at_least=1, at_most=1_000_000)
DECISION_DAYS = ENVIRONMENT.whole("SPENDHUB_DECISION_DAYS", 30, at_least=1, at_most=3650)
DECISION_SAMPLE = ENVIRONMENT.share("SPENDHUB_DECISION_SAMPLE", Decimal("0.01"))

# --- the recipe's own variables ------------------------------------------------------------------
ROUTER_CONFIG_MODELS: list[Any] = ENVIRONMENT.json("ROUTER_CONFIG_MODELS", list)
# nano_usd per million tokens; None: a model without a price has none.
DEFAULT_INPUT_NANO_USD_PER_MTOK = ENVIRONMENT.usd("DEFAULT_INPUT_COST_PER_MILLION")
DEFAULT_OUTPUT_NANO_USD_PER_MTOK = ENVIRONMENT.usd("DEFAULT_OUTPUT_COST_PER_MILLION")
# What each user of every tenant may spend a day, in nano_usd; None: no such budget.
DEFAULT_DAILY_BUDGET_NANO_USD = ENVIRONMENT.usd("DEFAULT_DAILY_BUDGET")


def _tenant_budgets() -> dict[str, dict[str, int]]:
    budgets: dict[str, dict[str, int]] = {}
    for slug, limits in ENVIRONMENT.json("TENANT_BUDGETS", dict).items():
        # A bare amount is a daily one.
        limits = limits if isinstance(limits, dict) else {"daily": limits}
        budgets[slug] = {}
        for name, amount in limits.items():
            if name not in ("daily", "monthly"):
                raise WrongSetting("TENANT_BUDGETS", f"{slug}: {name!r} is neither daily nor monthly")
            try:
                budgets[slug]["day" if name == "daily" else "month"] = parse_usd(amount)
            except InvalidMoney as error:
                raise WrongSetting("TENANT_BUDGETS", f"{slug}: {error.message}") from None
    return budgets


# Budgets of whole tenants, by slug and period (day, month), in nano_usd.
TENANT_BUDGETS_NANO_USD = _tenant_budgets()
LANGFUSE_PUBLIC_KEY = ENVIRONMENT.text("LANGFUSE_PUBLIC_KEY")
LANGFUSE_SECRET_KEY = ENVIRONMENT.text("LANGFUSE_SECRET_KEY")
LANGFUSE_HOST = ENVIRONMENT.text("LANGFUSE_HOST", "https://cloud.langfuse.com")

# --- stores ---------------------------------------------------------------------------------------
REDIS_URL = ENVIRONMENT.redis("REDIS_URL")
DATABASE_POOL_SIZE = ENVIRONMENT.whole("SPENDHUB_DATABASE_POOL_SIZE", 16, at_least=4, at_most=200)
DATABASE_TIMEOUT_SECONDS = ENVIRONMENT.whole("SPENDHUB_DATABASE_TIMEOUT_SECONDS", 5, at_least=1, at_most=300)
DATABASES: dict[str, dict[str, Any]] = {"default": ENVIRONMENT.database("DATABASE_URL", VAR_DIR / "spendhub.sqlite3")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    Path(DATABASES["default"]["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE: a transaction that begins by reading and then writes would otherwise fail with
        # "database is locked" whatever the timeout. FULL: an accepted span survives a power cut.
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=20000;"
        "PRAGMA cache_size=-16000; PRAGMA mmap_size=134217728",
    }
else:
    # A host that vanished without a word is given up on after that time; TCP by itself takes a quarter of an hour,
    # and two hours where we only listen. (libpq's own words; for a socket file they mean nothing.)
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": max(2, DATABASE_TIMEOUT_SECONDS),
        "tcp_user_timeout": DATABASE_TIMEOUT_SECONDS * 1000,
        "keepalives_idle": max(1, DATABASE_TIMEOUT_SECONDS // 2),
        "keepalives_interval": max(1, DATABASE_TIMEOUT_SECONDS // 6),
        "keepalives_count": 3,
    } | DATABASES["default"]["OPTIONS"]
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "min_size": 1,
        "max_size": DATABASE_POOL_SIZE,
        "timeout": DATABASE_TIMEOUT_SECONDS,
        # The pool pauses twice as long after each failure, and would come back as late as it was away: it gives up
        # early, and whoever asks for a connection next makes it begin anew.
        "reconnect_timeout": min(DATABASE_TIMEOUT_SECONDS, 5),
        "connection_class": BoundedConnection,
    }
    # Without it a restarted PostgreSQL costs one failed request per pooled connection.
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
if REDIS_URL:
    CACHES: dict[str, dict[str, Any]] = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "spendhub",
            # A cache that does not answer must not take the product down with it.
            "OPTIONS": {"IGNORE_EXCEPTIONS": True, "SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1},
        }
    }
    # Answers that are given again are large: apart, so that they can be told from everything else.
    CACHES["answers"] = CACHES["default"] | {"KEY_PREFIX": "spendhub:answers"}
else:
    _memory = "django.core.cache.backends.locmem.LocMemCache"
    CACHES = {
        "default": {"BACKEND": _memory},
        "answers": {"BACKEND": _memory, "LOCATION": "answers", "OPTIONS": {"MAX_ENTRIES": 300}},
    }

# --- the web plane ---------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "unfold.contrib.inlines",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "spendhub",
    "spendhub.dashboard",
    "spendhub.tenants",
    "routing",
    "budgets",
    "telemetry",
]
MIDDLEWARE = [
    "spendhub.api.errors.ApiErrors",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "spendhub.dashboard.local_time.AccountTime",
]
ROOT_URLCONF = "spendhub.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "/admin/login/"
LOGIN_REDIRECT_URL = "/admin/"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_AGE = int(timedelta(days=14).total_seconds())
# Bodies are capped by our own parser, which answers 413 in the API's error shape; Django's own cap
# would answer 400 in HTML. A bulk post of spans may hold 32 MB.
DATA_UPLOAD_MAX_MEMORY_SIZE = 33 * 1024 * 1024
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
FORMAT_MODULE_PATH = ["spendhub.dashboard.formats"]
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_SCHEMA_CLASS": "spendhub.api.schema.Schema",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "spendhub.api.authentication.ApiKeyAuthentication",
        "spendhub.api.authentication.MemberAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["spendhub.api.permissions.ReadOrManage"],
    "DEFAULT_PARSER_CLASSES": ["spendhub.api.bodies.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "spendhub.api.negotiation.FirstIfNoneFits",
    "DEFAULT_PAGINATION_CLASS": "spendhub.api.paging.Pages",
    "EXCEPTION_HANDLER": "spendhub.api.errors.answer_exception",
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "spendhub.api.nulls.nulls_as_openapi_3_0",
    ],
    # Fields of one name that stand for different sets of words.
    "ENUM_NAME_OVERRIDES": {
        "ActionEnum": ["allow", "degrade", "disable-tools", "hard-stop", "warn"],
        "BrakeActionEnum": "telemetry.models.Brake.Action",
        "ModelKindEnum": "routing.models.Model.Kind",
        "EventKindEnum": "budgets.models.BudgetEvent.Kind",
        "QualityTierEnum": "routing.models.Model.Quality",
    },
    "TITLE": "SpendHub",
    "DESCRIPTION": "Budgets for LLM calls: checked, routed, executed, accounted. Money is in USD.",
    "VERSION": "1",
    "SCHEMA_PATH_PREFIX": r"/api(/v1)?",
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        # It tells each upstream call at INFO; our own records of them are better.
        "httpx": {"level": "WARNING"},
    },
}
