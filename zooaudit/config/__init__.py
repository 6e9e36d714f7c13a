"""A recipe's contents: frozen, typed, validated once, when made.

Fields carry their unit or norm in the name where a bare number could be misread. A value out of range raises
:class:`~zooaudit.errors.ConfigError` with the field, the value found and the range expected.
"""

from zooaudit.config.basics import (
    ATTACKS as ATTACKS,
)
from zooaudit.config.basics import (
    DEFENCES as DEFENCES,
)
from zooaudit.config.basics import (
    EXACT_STRENGTH as EXACT_STRENGTH,
)
from zooaudit.config.basics import (
    FILE_NAME as FILE_NAME,
)
from zooaudit.config.basics import (
    LABELS as LABELS,
)
from zooaudit.config.basics import (
    LATER as LATER,
)
from zooaudit.config.basics import (
    LONGEST_NAME as LONGEST_NAME,
)
from zooaudit.config.basics import (
    MODIFICATIONS as MODIFICATIONS,
)
from zooaudit.config.basics import (
    OPTIMISERS as OPTIMISERS,
)
from zooaudit.config.basics import (
    Attack as Attack,
)
from zooaudit.config.basics import (
    Defence as Defence,
)
from zooaudit.config.basics import (
    Labels as Labels,
)
from zooaudit.config.basics import (
    Modification as Modification,
)
from zooaudit.config.basics import (
    Norm as Norm,
)
from zooaudit.config.basics import (
    Optimiser as Optimiser,
)
from zooaudit.config.basics import (
    UapMethod as UapMethod,
)
from zooaudit.config.basics import (
    canonical_json as canonical_json,
)
from zooaudit.config.basics import (
    check as check,
)
from zooaudit.config.basics import (
    digest_of as digest_of,
)
from zooaudit.config.basics import (
    stated as stated,
)
from zooaudit.config.paper import (
    ENCODERS as ENCODERS,
)
from zooaudit.config.paper import (
    EncoderConfig as EncoderConfig,
)
from zooaudit.config.paper import (
    FingerprintConfig as FingerprintConfig,
)
from zooaudit.config.paper import (
    UapConfig as UapConfig,
)
from zooaudit.config.paper import (
    VerdictConfig as VerdictConfig,
)
from zooaudit.config.recipe import (
    Recipe as Recipe,
)
from zooaudit.config.recipe import (
    check_views as check_views,
)
from zooaudit.config.thieves import (
    ExtractConfig as ExtractConfig,
)
from zooaudit.config.thieves import (
    ModifyConfig as ModifyConfig,
)
from zooaudit.config.thieves import (
    Overlap as Overlap,
)
from zooaudit.config.training import (
    OwnTraining as OwnTraining,
)
from zooaudit.config.training import (
    Start as Start,
)
from zooaudit.config.training import (
    TrainConfig as TrainConfig,
)
from zooaudit.config.twins import (
    TwinTestConfig as TwinTestConfig,
)
from zooaudit.config.zoo import (
    ZooConfig as ZooConfig,
)
