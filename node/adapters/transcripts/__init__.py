"""Agent transcripts in the chat-message format, imported as a lineage of two agents: the assistant and its tools.

`parse` reads bytes into trajectories and touches nothing else; `importing` records them and verifies what came of it.
"""

from tslg.node.adapters.transcripts.importing import Imported, Target, import_transcript, verify_targets
from tslg.node.adapters.transcripts.model import Problem, Transcript
from tslg.node.adapters.transcripts.parse import parse

__all__ = ["Imported", "Problem", "Target", "Transcript", "import_transcript", "parse", "verify_targets"]
