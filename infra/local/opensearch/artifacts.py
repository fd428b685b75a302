"""What an OpenSearch server is made of here: published artifacts by coordinate and sha256, and the modules they make.

The published distribution has no modules, and of the modules only the jars are published. Jars that the server has in
its own `lib/` are left out: it refuses to start when a class is there twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..maven import Artifact

VERSION = "3.4.0"
ASM_VERSION = "9.7"


@dataclass(frozen=True, slots=True)
class Module:
    """A part of the server that the bare distribution lacks."""

    name: str
    classname: str
    jars: tuple[Artifact, ...]
    extends: str = ""
    permission: str = ""
    """What its code may do besides, in the words of a Java security policy."""


DISTRIBUTION = Artifact(
    f"org.opensearch.distribution.integ-test-zip:opensearch:{VERSION}",
    "6540e95fe8bfaedc3eb1c58e829912ea2203af2ac1f88f76411c20a2fc5254a6",
    "zip",
)
KNN = Artifact(
    f"org.opensearch.plugin:opensearch-knn:{VERSION}.0",
    "f6cc96677277521e0dacc82aa078f87df70032026c8c7059623467a4141cfd2f",
    "zip",
)
"""Approximate vector search; the published archive has the Lucene engine and no native library for faiss."""
SECURITY = Artifact(
    f"org.opensearch.plugin:opensearch-security:{VERSION}.0",
    "fc164c084979f7f793d295b6bca56bf8bee76dafb762adef9f14fa872e0a7596",
    "zip",
)
SECURITY_NEEDS = (
    Artifact(
        "org.apache.commons:commons-collections4:4.4", "1df8b9430b5c8ed143d7815e403e33ef5371b2400aadbe9bda0883762e0846d1"
    ),
)

MODULES = (
    Module(
        "lang-painless",
        "org.opensearch.painless.PainlessModulePlugin",
        (
            Artifact(
                f"org.opensearch.plugin:lang-painless:{VERSION}",
                "2c6d2f22ef905744ce4681d8c06127f7b5f78da69da7a5d6dfa6cb16304e4813",
            ),
            Artifact(
                f"org.opensearch.plugin:opensearch-scripting-painless-spi:{VERSION}",
                "f35b1a391cdaee81bf419fa844fa5c52d71ba04b37952e15c5403d1b81c1a080",
            ),
            Artifact(
                "org.antlr:antlr4-runtime:4.13.1", "54665d2838cc66458343468efc539e454fc95b46a8a04b13c6ac43fc9be63505"
            ),
            Artifact(
                f"org.ow2.asm:asm:{ASM_VERSION}", "adf46d5e34940bdf148ecdd26a9ee8eea94496a72034ff7141066b3eea5c4e9d"
            ),
            Artifact(
                f"org.ow2.asm:asm-analysis:{ASM_VERSION}",
                "7bc6bcbc21379948a0c8c467fb0f864206e5b818f6bc0b546872f5c9f941556f",
            ),
            Artifact(
                f"org.ow2.asm:asm-commons:{ASM_VERSION}",
                "389bc247958e049fc9a0408d398c92c6d370c18035120395d4cba1d9d9304b7a",
            ),
            Artifact(
                f"org.ow2.asm:asm-tree:{ASM_VERSION}", "62f4b3bc436045c1acb5c3ba2d8ec556ec3369093d7f5d06c747eb04b56d52b1"
            ),
            Artifact(
                f"org.ow2.asm:asm-util:{ASM_VERSION}", "37a6414d36641973f1af104937c95d6d921b2ddb4d612c66c5a9f2b13fc14211"
            ),
        ),
        permission='java.lang.RuntimePermission "createClassLoader"',
    ),
    Module(
        "analysis-common",
        "org.opensearch.analysis.common.CommonAnalysisModulePlugin",
        (
            Artifact(
                f"org.opensearch.plugin:analysis-common:{VERSION}",
                "4c2207ac94d242f35a0d83576c79744b8bbbc6142ef253f9ca81163e1605a944",
            ),
        ),
        extends="lang-painless",
    ),
    Module(
        "mapper-extras",
        "org.opensearch.index.mapper.MapperExtrasModulePlugin",
        (
            Artifact(
                f"org.opensearch.plugin:mapper-extras-client:{VERSION}",
                "6f7d4e1f1756baf25337824869a053e61874e17ce81b175c0c8b71580fdf75ff",
            ),
        ),
    ),
    Module(
        "reindex",
        "org.opensearch.index.reindex.ReindexModulePlugin",
        (
            Artifact(
                f"org.opensearch.plugin:reindex-client:{VERSION}",
                "0e4566331c88272a8e86912c32675e0c2df0f5a0d4effb31ec5b2b426caa9056",
            ),
            Artifact(
                f"org.opensearch.client:opensearch-rest-client:{VERSION}",
                "53430109a9405d4aef0c563a1fbcf5b4877ce3e7c20466a6dbf63b0b6cfcbe8d",
            ),
            Artifact(
                f"org.opensearch:opensearch-ssl-config:{VERSION}",
                "368fb2111047c491ad253c8456106cf05bdf758bd455e7e4e295a944ce054d4a",
            ),
            Artifact(
                "org.apache.httpcomponents.client5:httpclient5:5.4.4",
                "3f8657eab91b7533e5cf232d4e268253c4ff9f99f1e4bcd67841618bed67f2de",
            ),
            Artifact(
                "org.apache.httpcomponents.core5:httpcore5:5.3.4",
                "f2b2fd7a0164e8c3120cd8437bc9fea439239e165c17262b3e907daa7e979f80",
            ),
            Artifact(
                "org.apache.httpcomponents.core5:httpcore5-h2:5.3.4",
                "1fb4f34e4b612e7c127ad693335583587850b17ce9b1c366f9de1ca49fe2c781",
            ),
            Artifact(
                "org.apache.httpcomponents.core5:httpcore5-reactive:5.3.4",
                "10f327ae48668105b89205fb0177f66a33040b0af4455aa68ff383d3ba7c0cb5",
            ),
            Artifact(
                "commons-codec:commons-codec:1.18.0", "ba005f304cef92a3dede24a38ad5ac9b8afccf0d8f75839d6c1338634cf7f6e4"
            ),
            Artifact(
                "commons-logging:commons-logging:1.3.5",
                "6d7a744e4027649fbb50895df9497d109f98c766a637062fe8d2eabbb3140ba4",
            ),
            Artifact("org.slf4j:slf4j-api:2.0.17", "7b751d952061954d5abfed7181c1f645d336091b679891591d63329c622eb832"),
        ),
        permission='java.net.SocketPermission "*", "connect,resolve"',
    ),
)
