"""Start Home Assistant with the addresses of a simulated cloud, which precede its own arguments."""

import sys

from homeassistant.__main__ import main
from pyenphase.auth import EnvoyTokenAuth

if __name__ == "__main__":
    EnvoyTokenAuth.JSON_LOGIN_URL, EnvoyTokenAuth.TOKEN_URL = sys.argv[1:3]
    del sys.argv[1:3]
    sys.exit(main())
