"""Wordings with which servers reject images: all images, or just the one that was sent.

The rules apply only to requests with images. Wordings come from the servers' documentation, source
code and public issues; comments name the servers. A wording that fits both kinds is taken to mean
that the model accepts no images, and `bot.llm.vision` corrects this for models that have already
answered a request with one.
"""

from __future__ import annotations

CANNOT_SEE: tuple[str, ...] = (
    r"image_url is only supported by certain models",  # OpenAI, Azure
    r"not an? (multi-?modal|vision)( language)? model|non-multimodal|text[- ]only model",  # vLLM
    r"at most 0 images?\b|at most 0 image\(s\)",  # vLLM
    r"no endpoints found that support image",  # OpenRouter, Xiaomi: status 404
    r"\bmmproj\b|not compiled for multimodal",  # llama.cpp, llama-cpp-python, llamafile
    r"missing data required for image input",  # Ollama
    r"unknown variant \W{0,2}image_url",  # DeepSeek, and other servers in Rust
    r"unsupported content (part )?type:? \W{0,3}image|unexpected item type in content",  # Alibaba
    r"image_ranges\) = 0",  # Fireworks
    # servers whose content is always a string: Groq, FastAPI, Go, Rust, zod, chat templates
    r"content['\"`]?\]?\s?:?\s?(value )?must be a string",
    r"input should be ['\"`]text['\"`]|input should be a valid string",
    r"cannot unmarshal array into .{0,80}content|invalid type: sequence, expected a string",
    r"expected string, received array|can only concatenate str \(not .{0,3}list",
    r"only ['\"`]?text['\"`]?.{0,20} (is|are) (supported|allowed|accepted)",  # mlx-lm
    r"only (supports?|accepts?|allows?) (plain )?text\b|(supports?|accepts?|allows?) only text\b",
    r"(vision|image) input (modality )?is not enabled",  # Mistral, Gemini
    # LM Studio, Ollama, Bedrock and many others
    r"(does|do|did|can)(n['’]t| not|not) (currently )?(support|accept|allow|take|understand|see"
    r"|analyze) (any |the )?(use of )?['\"`]?"
    r"(image_url|images?|vision|multi-?modal)\b(?!['\"`]? ?(format|type|media|mime|size|dimension"
    r"|resolution|extension|encoding|url|with|larger|over|above|bigger))",
    r"(?<!gif )(?<!svg )(?<!bmp )(?<!tiff )(?<!heic )(?<!animated )(?<!remote )(?<!such )"
    r"\b(images?|vision|multi-?modal(ity)?)['\"`]?"
    r"( (input|content|understanding|processing|modality|part|attachment|message)s?){0,2}"
    r" (is|are)(n['’]t| not|not) (currently |yet )?(supported|enabled|allowed|accepted|available"
    r"|permitted)",  # xAI, llama.cpp
    r"image_url\b.{0,30} (is|are)(n['’]t| not) (supported|enabled|allowed|accepted|permitted)",
    r"(vision|multi-?modal|image inputs?)( capabilit(y|ies)| support| content)? (not |un)"
    r"(supported|available|enabled)",
    r"(unsupported|unknown|invalid|unexpected) (content|message|part|input|value)( part)?( type)?"
    r"\W{1,4}(\w{1,12} )?['\"`]?image_url",
    r"(does|do|can)(n['’]t| not|not) (process|handle|view|read) images\b(?! ?(with|of|in|larger))",
    r"(without|lacks?|no) (vision|image[- ]input) (support|capabilit)",
    r"(requires?|use|choose|select) an? (vision|multi-?modal)[- ]?(language |capable )?model",
    r"不支持.{0,6}(图片|图像|视觉|多模态)(?!格式|类型|大小|尺寸)",
    r"(图片|图像|视觉|多模态)(输入|理解|内容)?.{0,4}不支持|取值范围.{0,4}\[.?text.?\]",  # Zhipu
)

REFUSED_CODES: frozenset[str] = frozenset(
    {
        # OpenAI's error codes for images, from the API's schema
        "invalid_image",
        "invalid_image_format",
        "invalid_base64_image",
        "invalid_image_url",
        "image_too_large",
        "image_too_small",
        "image_parse_error",
        "invalid_image_mode",
        "image_file_too_large",
        "unsupported_image_media_type",
        "empty_image_file",
        "failed_to_download_image",
        "image_file_not_found",
        "sanitizer_server_error",
        "image_dimensions_too_large",  # Anthropic
    }
)

REFUSED: tuple[str, ...] = (
    r"(could|can|did)(n['’]t| ?not) (be )?(process|decode|load|read|parse|open|download|fetch"
    r"|identify|preprocess).{0,24}\b(image|multimodal)",  # Anthropic, Fireworks, vLLM
    r"(unable|failed|failure|error)( to| while| when|:)? ?(process|decod|load|read|pars|open"
    r"|download|fetch|identify|preprocess).{0,30}\b(image|multimodal)",  # Gemini, llama.cpp
    r"image.{0,20} (could|can|did)(n['’]t| ?not) be ",
    r"(invalid|unsupported|corrupt(ed)?|broken|malformed|truncated|damaged|unreadable|empty) "
    r"(input )?(base64[- ](encoded )?)?images?\b",  # OpenAI, Azure
    r"images?( data| file| url| you provided)? .{0,20}(is|are|was) (not (a )?valid|invalid|corrupt"
    r"|unsupported|malformed|truncated|empty)",  # Gemini
    r"not represent a valid image|must be a (valid )?base64|(illegal|invalid) base64"  # LM Studio
    r"|incorrect padding|base64.{0,12}decod",  # Ollama, servers in Python
    r"images?\b.{0,60}(too (large|small|big|wide|tall|high|many)|exceed|larger than|smaller than"
    r"|bigger than|at least|below \d|restriction)",  # Anthropic, Alibaba
    r"(image|media|mime|content)[ _-]?(format|type|media type|mime)s?\b.{0,40}"
    r"(not|n['’]t|un|in) ?(supported|valid|allowed|recognized)",
    r"(unsupported|invalid|unknown|unrecognized) (image |media |mime |file ){1,2}(format|type)",
    r"input should be ['\"`]?image/",  # Anthropic
    r"larger than factor|aspect ratio",  # Qwen's processors
    r"too many images|(at most|up to|maximum of|more than|only) (one|\d{1,3}) image",  # vLLM, Groq
    r"(图片|图像).{0,12}(格式|过大|太大|失败|错误|无效|损坏|解析|下载|不符)|不支持的(图片|图像)",
)
