"""What a process is told from outside."""

from dts.settings.settings import (
    ExecutorSettings as ExecutorSettings,
)
from dts.settings.settings import (
    Peers as Peers,
)
from dts.settings.settings import (
    Settings as Settings,
)
from dts.settings.settings import (
    TlsSettings as TlsSettings,
)
from dts.settings.settings import (
    default_data_dir as default_data_dir,
)
from dts.settings.values import Address as Address
