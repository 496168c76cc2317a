"""Words that columns and labels go by, in the languages that reviews come in."""

import re
import unicodedata

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

TEXT = frozenset(
    "text texts review reviews body content contents comment comments message "
    "sentence tweet post document feedback opinion verbatim reviewtext reviewbody "
    "utterance commentaire commentaires avis texte contenu phrase texto comentario "
    "comentarios reseña resena opinión kommentar rezension inhalt beitrag testo "
    "recensione commento contenuto comentário avaliação resenha conteúdo отзыв "
    "текст комментарий 评论 内容 文本 评价 評論 レビュー 本文 コメント 口コミ 리뷰 "
    "내용 댓글 본문 yorum metin ulasan komentar teks isi recenzja treść komentarz "
    "tekst نص تعليق مراجعة टिप्पणी समीक्षा recensie tekst omdöme kommentti "
    "arvostelu".split()
)
NO_TEXT = frozenset(
    "title headline summary subject name description url link source product brand "
    "author user reviewer translation reply response path file titre titel título "
    "titolo".split()
)
# Names that say how good a thing is: their numbers are a scale.
SCALE = frozenset(
    "stars star rating ratings score scores overall grade rate sentiment "
    "sentiments polarity note notes étoiles etoiles bewertung sterne stern "
    "estrellas calificación calificacion puntuación puntuacion valoración "
    "valoracion nota stelle voto valutazione estrelas оценка рейтинг 评分 星级 "
    "評価 星 별점 평점 점수 puan penilaian ocena gwiazdki stimmung sentimiento "
    "sentimento sentimen".split()
)
LABEL = SCALE | frozenset(
    "label labels class classes category categories target emotion emotions topic "
    "recommended recommend recommendation spam toxic toxicity hate offensive irony "
    "topics tag tags intent aspect aspects gold y etiqueta etiquetas etichetta "
    "classe categoría kategorie klasse étiquette метка класс 标签 類別 类别 ラベル "
    "라벨 감성 감정 etiket".split()
)
STRONG_LABEL = LABEL - frozenset(
    "score scores class classes category categories target note notes y overall "
    "topic aspect aspects tag tags rate grade".split()
)
NO_LABEL = frozenset(
    "helpful helpfulness vote votes count num number product user author verified "
    "average avg mean confidence probability price id source split fold version".split()
)
LANGUAGE = frozenset(
    "language languages lang langs locale langue sprache idioma lingua língua язык "
    "语言 語言 言語 언어 bahasa dil langcode język taal språk".split()
)
ID = frozenset("id ids uuid guid key identifier uid rowid reviewid pk".split())
# Names that number things, if not always reviews.
NUMBER = frozenset(
    "no nr num number nummer numero numéro número numer nomor numara sno srno "
    "slno orderno refno reviewno номер 编号 編號 番号 번호 ref reference réf référence "
    "referencia referência referenz riferimento code código codigo codice kod код "
    "identifiant identificador identificatore kennung идентификатор index idx serial "
    "hash".split()
)
ID_ENDS = ("id", "nr", "nummer", "number", "key")  # of one word, as in Bestellnr
# Names of what is counted or measured, of `number of …`, and of people's numbers.
NO_ID = frozenset(
    "price cost amount total sum fee preis prix precio prezzo preço cena цена 价格 "
    "価格 가격 betrag montant importe count counts votes likes views helpful "
    "helpfulness words chars characters length tokens age of phone mobile telephone "
    "tel telefon téléphone telefono teléfono zip zipcode postal postcode plz".split()
)
GROUP = frozenset(
    "product asin sku item business restaurant hotel movie film app author user "
    "reviewer customer produit produkt producto prodotto".split()
)
GROUP_STEMS = ("kunde", "artikel", "client", "product", "produkt", "customer", "user")
TIME = frozenset(
    "date time timestamp datetime created posted published submitted day datum "
    "fecha data heure zeit zeitstempel дата 日期 時間 日付 날짜 tarih tanggal".split()
)
SPLIT = frozenset("split splits fold subset partition".split())

# Label values -> where they stand, from bad to good.
SENTIMENTS = {
    -1: "negative neg bad negativ négatif negatif negativo negativa отрицательный "
    "негативный 负面 消极 ネガティブ 부정 olumsuz negatywny سلبي",
    0: "neutral neu neutre neutro neutra neutraal mixed нейтральный 中性 中立 "
    "ニュートラル 중립 nötr netral neutralny محايد",
    1: "positive pos good positiv positif positivo positiva положительный позитивный "
    "正面 积极 ポジティブ 긍정 olumlu pozytywny إيجابي",
}
SENTIMENT_OF = {w: place for place, words in SENTIMENTS.items() for w in words.split()}
NO_VALUES = frozenset({"nan", "null", "n/a", "na", "?", "-", "--"})
YES_NO = (("no", "yes"), ("false", "true"), ("f", "t"), ("n", "y"))

# ISO 639-1.
LANGUAGES = frozenset(
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co "
    "cr cs cu cv cy da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl "
    "gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg "
    "ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk "
    "ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps "
    "pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta "
    "te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za "
    "zh zu".split()
)


def words_of(column: str) -> list[str]:
    """Returns the words of a column's name: `reviewBody` and `review_body` alike."""
    name = column.rstrip(". ").rsplit(".", 1)[-1].replace("°", "º")  # No. and n°
    spaced = _CAMEL.sub(" ", unicodedata.normalize("NFKC", name))
    return [word for word in re.split(r"[\W_]+", spaced.lower()) if word]


def named(column: str, words: frozenset[str]) -> bool:
    """Tells whether a column's name has one of the words, or is one."""
    found = words_of(column)
    return not words.isdisjoint(found) or "".join(found) in words
