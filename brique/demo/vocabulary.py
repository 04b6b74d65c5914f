"""The words of the demo's trading house in Dakar: towns, trades, names, goods, remarks. French, as its people write."""

from __future__ import annotations

TOWNS: dict[str, int] = {
    "Dakar": 320, "Pikine": 70, "Guédiawaye": 45, "Rufisque": 60, "Thiès": 90, "Mbour": 60, "Touba": 85,
    "Kaolack": 70, "Saint-Louis": 55, "Ziguinchor": 45, "Louga": 22, "Diourbel": 20, "Tambacounda": 20,
    "Fatick": 12, "Kolda": 14, "Kaffrine": 9, "Matam": 10, "Sédhiou": 7, "Kédougou": 6, "Richard-Toll": 10,
}  # fmt: skip
"""Town → weight of its clients."""

TRADES = (
    "Quincaillerie", "Établissements", "Société", "Boulangerie", "Pharmacie", "GIE", "Coopérative", "Atelier",
    "Hôtel", "Restaurant", "Librairie", "Garage", "Menuiserie", "Entreprise", "Comptoir", "Maison", "Cabinet",
    "École", "Clinique", "Transports", "Imprimerie", "Électricité générale", "Froid & Climatisation", "Matériaux",
)  # fmt: skip

FAMILY_NAMES = (
    "Ndiaye", "Diop", "Fall", "Sow", "Ba", "Diallo", "Faye", "Sarr", "Gueye", "Seck", "Mbaye", "Cissé", "Sy", "Kane",
    "Thiam", "Niang", "Diouf", "Ndour", "Camara", "Touré", "Sané", "Badji", "Coly", "Mendy", "Gomis", "Dièye", "Wade",
    "Lô", "Kâ", "Bâ", "Tall", "Samb", "Dramé", "Traoré", "Sagna", "Goudiaby", "Ndoye", "Mbengue", "Pouye", "Sène",
)  # fmt: skip

ENDINGS = (
    "& Frères", "& Fils", "et Cie", "SARL", "SA", "SUARL", "de la Médina", "du Plateau", "de l'Indépendance",
    "du Fleuve", "de la Corniche", "Sandaga", "Takku Liggéey", "Jàppoo", "du Cap-Vert", "des Almadies", "Nord", "Sud",
)  # fmt: skip

STREETS = (
    "avenue Lamine-Guèye", "rue Félix-Faure", "avenue Blaise-Diagne", "route de Rufisque", "rue Mohamed-V",
    "avenue Cheikh-Anta-Diop", "quartier Escale", "marché central", "route de l'Aéroport", "rue de Thiong",
    "quartier Médina-Fall", "boulevard du Général-de-Gaulle", "cité Keur-Gorgui", "Sicap Liberté", "Grand-Yoff",
)  # fmt: skip

FAMILIES: tuple[tuple[str, str, int, float, tuple[str, ...]], ...] = (
    ("Bois", "M", 2800, 2.4, ("Madrier rouge", "Chevron sapin", "Planche coffrage", "Contreplaqué okoumé", "Latte")),
    ("Fer et acier", "BAR", 3900, 7.4, ("Fer à béton HA", "Cornière", "Tube carré", "Fer plat", "Treillis soudé")),
    ("Ciment et plâtre", "SAC", 3500, 50, ("Ciment CEM II", "Plâtre fin", "Chaux", "Enduit de façade", "Colle")),
    ("Peinture", "POT", 5500, 5.2, ("Peinture à l'eau", "Laque glycéro", "Vernis", "Sous-couche", "Antirouille")),
    ("Plomberie", "PCE", 1900, 0.6, ("Tube PVC", "Coude à 90°", "Robinet d'arrêt", "Mitigeur évier", "Siphon")),
    ("Électricité", "PCE", 2400, 0.3, ("Câble U-1000", "Disjoncteur", "Prise encastrée", "Réglette LED", "Gaine")),
    ("Visserie", "CENT", 650, 0.9, ("Vis à bois", "Boulon poêlier", "Cheville à œillet", "Rivet", "Écrou frein")),
    ("Outillage", "PCE", 3200, 1.8, ("Marteau arrache-clou", "Scie égoïne", "Niveau à bulle", "Tenaille", "Truelle")),
    ("Serrurerie", "PCE", 3400, 0.8, ("Serrure à encastrer", "Cadenas laiton", "Paumelle", "Verrou", "Poignée")),
    ("Sanitaire", "PCE", 11000, 14, ("Lavabo blanc", "Cuvette WC à l'anglaise", "Receveur de douche", "Colonne")),
    ("Jardin et puits", "PCE", 4700, 3.5, ("Arrosoir", "Pompe immergée", "Tuyau d'arrosage", "Bêche", "Râteau")),
    ("Bureau", "PAQ", 2900, 2.5, ("Ramette A4 80 g", "Classeur à levier", "Cartouche d'encre", "Registre folioté")),
    ("Entretien", "BID", 3300, 5.0, ("Eau de Javel 12°", "Savon noir", "Dégraissant", "Lessive", "Désinfectant")),
    ("Énergie solaire", "PCE", 22000, 18, ("Panneau photovoltaïque", "Batterie gel", "Régulateur MPPT", "Onduleur")),
)
"""(family, unit of sale, middle price in FCFA, middle weight in kg, goods)."""

VARIANTS = (
    "Ø 8", "Ø 10", "Ø 12", "Ø 16", "Ø 20", "Ø 32", "20 × 20", "40 × 40", "63 × 150", "petit modèle", "grand modèle",
    "série éco", "série pro", "renforcé", "qualité marine", "n° 2", "n° 5", "gris", "blanc cassé", "bleu océan",
)  # fmt: skip

DEPOTS = (
    ("DK01", "Dépôt central Dakar", "Dakar"),
    ("DK02", "Magasin Pikine", "Pikine"),
    ("TH01", "Magasin Thiès", "Thiès"),
    ("KL01", "Magasin Kaolack", "Kaolack"),
    ("SL01", "Magasin Saint-Louis", "Saint-Louis"),
    ("ZG01", "Magasin Ziguinchor", "Ziguinchor"),
)

REMARKS = (
    "Livrer le matin, avant la prière de tisbaar",
    "Le client passe lui-même au dépôt",
    "À livrer côté cour, demander M. Ndiaye",
    "Facture à part pour le transport, s'il vous plaît",
    "Attention : marchandise fragile",
    "Règlement à 60 jours accordé par la direction",
    "Bon de commande à joindre à la facture",
    "Reliquat de la commande précédente",
    "Déjà payé à l'avance ; ne pas relancer",
    "Prévoir un manœuvre pour le déchargement",
    "Client très pressé : appeler dès l'arrivée\\nTéléphone du chantier : 33 821 00 17",
    "Remise exceptionnelle validée par Mme Sarr (« bon client »)",
)
"""As COPY writes them: one holds a line break."""

CLERKS: dict[str, int] = {"AWA": 30, "MOUSSA": 24, "FATOU": 20, "IBRAHIMA": 12, "KHADY": 10, "QPGMR": 4}

PAYMENTS = ("Espèces", "Chèque", "Virement", "Wave", "Orange Money", "Effet à 30 j")

PROGRAMS = ("ORD010", "ORD020", "INV110", "STK040", "CLI010", "QSYSOPR")
