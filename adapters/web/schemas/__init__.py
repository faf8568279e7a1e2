"""The schemas of the API's requests and responses, as OpenAPI describes them, by topic."""

from __future__ import annotations

from adapters.web.schemas.conversations import (
    Conversation,
    ConversationChange,
    ConversationDetails,
    Message,
    NewConversation,
    PublicConversation,
    PublicSummary,
)
from adapters.web.schemas.errors import Error, Invalid
from adapters.web.schemas.exports import ConversationExport
from adapters.web.schemas.feedback import Feedback
from adapters.web.schemas.fields import EffortName
from adapters.web.schemas.models import Context, Models
from adapters.web.schemas.privacy import AuditLine, Forget, ForgetPerson, ForgetReceipt
from adapters.web.schemas.questions import (
    FileData,
    ImagePart,
    Part,
    Prompt,
    PromptForm,
    Question,
    QuestionForm,
    TextPart,
)
from adapters.web.schemas.records import (
    NewMessage,
    NewVersion,
    Record,
    RecordChange,
    Version,
)
from adapters.web.schemas.search import SearchResults
from adapters.web.schemas.single_request import (
    AssistantMessage,
    ChatAnswer,
    Conversational,
    ConversationalAnswer,
    ConversationalHistory,
    ConversationalInputs,
    ConversationalOption,
)
from adapters.web.schemas.templates import (
    CompletionMessage,
    TemplateAnswer,
    TemplateMessages,
    TemplateText,
)
from adapters.web.schemas.usage import OwnUsage, UsageGroup

__all__ = [
    "AssistantMessage",
    "AuditLine",
    "ChatAnswer",
    "CompletionMessage",
    "Context",
    "Conversation",
    "ConversationChange",
    "ConversationDetails",
    "ConversationExport",
    "Conversational",
    "ConversationalAnswer",
    "ConversationalHistory",
    "ConversationalInputs",
    "ConversationalOption",
    "EffortName",
    "Error",
    "Feedback",
    "FileData",
    "Forget",
    "ForgetPerson",
    "ForgetReceipt",
    "ImagePart",
    "Invalid",
    "Message",
    "Models",
    "NewConversation",
    "NewMessage",
    "NewVersion",
    "OwnUsage",
    "Part",
    "Prompt",
    "PromptForm",
    "PublicConversation",
    "PublicSummary",
    "Question",
    "QuestionForm",
    "Record",
    "RecordChange",
    "SearchResults",
    "TemplateAnswer",
    "TemplateMessages",
    "TemplateText",
    "TextPart",
    "UsageGroup",
    "Version",
]
