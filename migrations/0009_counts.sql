-- 0009: the last count of a conversation, whichever model is asked next.
--
-- Reason: a placeholder of the same number is replaced when the branches meet.

CREATE INDEX turns_last_count ON turns (conversation_id, model, id)
    WHERE input_tokens IS NOT NULL;
